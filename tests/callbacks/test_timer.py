import math

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers
from lamina.callbacks import timer as module

X = np.ones((8, 1), "float32")


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(module, "time", one)
    return one


def begin(timer, clock, epochs=4, steps=10):
    timer.set_params({"epochs": epochs, "steps": steps})
    timer.on_train_begin()
    clock.now += 1


def epoch(timer, clock, number, step_seconds=0.5, validation=2.0):
    timer.on_epoch_begin(number)
    clock.now += 10 * step_seconds
    timer.on_progress("train", 10, None)
    timer.on_test_begin()
    clock.now += validation
    timer.on_progress("test", 3, None)
    timer.on_test_end()
    timer.on_epoch_end(number)


def test_times(clock):
    timer = callbacks.Timer()
    assert math.isnan(timer.seconds_per_step) and math.isnan(timer.seconds_left)
    begin(timer, clock)
    timer.on_epoch_begin(0)
    assert math.isnan(timer.seconds_left)
    clock.now += 2.0
    timer.on_progress("train", 4, None)
    assert timer.seconds_per_step == 0.5 and timer.seconds_left == 36 * 0.5
    clock.now += 3.0
    timer.on_progress("train", 10, None)
    timer.on_epoch_end(0)
    assert timer.epoch_seconds == [5.0] and timer.seconds_left == 15.0
    epoch(timer, clock, 1)
    assert timer.epoch_seconds == [5.0, 7.0] and timer.validation_seconds == 2.0
    assert (timer.steps, timer.seconds_per_step, timer.seconds_per_epoch) == (20, 0.5, 6.0)
    timer.on_epoch_begin(2)
    clock.now += 2.0
    assert timer.seconds_left == 10.0 and timer.seconds == 15.0
    timer.on_train_end()
    clock.now += 50
    assert timer.seconds == 15.0


def test_times_go_on_after_a_resume(clock):
    first = callbacks.Timer()
    begin(first, clock)
    epoch(first, clock, 0)
    between = first.get_state()
    first.on_epoch_begin(1)
    clock.now += 1.5
    first.on_progress("train", 3, None)
    middle = first.get_state()
    clock.now += 1000

    second = callbacks.Timer()
    begin(second, clock)
    second.set_state(between)
    epoch(second, clock, 1)
    assert second.epoch_seconds == [7.0, 7.0] and second.steps == 20 and second.seconds == 8.0 + 7.0

    third = callbacks.Timer()
    begin(third, clock)
    third.on_epoch_begin(1)
    third.set_state(middle)
    clock.now += 3.5
    third.on_progress("train", 10, None)
    third.on_epoch_end(1)
    assert third.epoch_seconds == [7.0, 5.0] and third.steps == 20 and third.seconds == 9.5 + 3.5


def test_lines(clock, capsys):
    timer = callbacks.Timer(verbose=2)
    begin(timer, clock, epochs=2)
    epoch(timer, clock, 0)
    epoch(timer, clock, 1)
    timer.on_train_end()
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: 7 s for 10 steps, 7 s left",
        "Epoch 2: 7 s for 10 steps, 0 us left",
        "15 s in all, 2 epochs of 7 s, 20 steps of 500 ms, validation 4 s",
    ]


def test_in_a_fit_batches_run_many_a_call():
    timer = callbacks.Timer()
    assert not callbacks.CallbackList([timer]).wants_batches("train")
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, X, batch_size=2, epochs=2, validation_data=(X, X), verbose=0, callbacks=[timer])
    assert timer.steps == 8 and 0 < timer.validation_seconds < sum(timer.epoch_seconds) <= timer.seconds
    assert timer.seconds_left == 0
    model.fit(X, X, batch_size=8, verbose=0, callbacks=[timer])
    assert timer.steps == 1
