"""Hooks, and when they are called."""

import logging

import numpy as np
import pytest

from lamina import estimators as est
from lamina.datasets import Dataset
from lamina.estimators.early_stopping import read_eval_metrics

X = np.arange(12, dtype="float32")[:, None] / 12
COLUMN = est.feature_column.numeric_column("x")


def data(repeat=-1):
    return lambda: Dataset.from_tensor_slices(({"x": X}, 3 * X)).batch(4).repeat(repeat)


def make(folder, rate=0.1, **config):
    return est.LinearRegressor(
        [COLUMN], str(folder), optimizer=est.optimizers.SGD(rate), config=est.RunConfig(**config)
    )


class Notes(est.SessionRunHook):
    def __init__(self, every=None):
        self.every, self.steps, self.calls = every, [], []

    def begin(self):
        self.calls.append("begin")

    def after_create_session(self, session, coord=None):
        self.calls.append("create")

    def before_run(self, run_context):
        return est.SessionRunArgs({"w": "linear/linear_model/x/weights", "step": "global_step"})

    def after_run(self, run_context, run_values):
        assert run_values.results["step"] == run_context.step
        self.steps.append((run_context.step, float(run_values.results["w"][0, 0])))

    def end(self, session):
        self.calls.append("end")

    def next_step(self, step, rate):
        return step + (self.every or 1)


def test_called_at_each_step_or_when_due(tmp_path):
    each, third = Notes(), Notes(3)
    make(tmp_path).train(data(), [each, third], steps=7)
    assert [s for s, _ in each.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [s for s, _ in third.steps] == [3, 6]
    assert dict(third.steps)[6] == dict(each.steps)[6] and len({w for _, w in each.steps}) == 7
    assert each.calls == ["begin", "create", "end"]


def test_a_hook_ends_training(tmp_path):
    class Stops(est.SessionRunHook):
        def after_run(self, run_context, run_values):
            assert set(run_values.results) == {"loss", "global_step"}
            if run_context.step == 4:
                run_context.request_stop()

    e = make(tmp_path).train(data(), [Stops()])
    assert int(e.get_variable_value("global_step")) == 4


def test_logging(tmp_path, caplog):
    caplog.set_level(logging.INFO, "lamina.estimators")
    hook = est.LoggingTensorHook({"how far": "global_step"}, every_n_iter=2, formatter=lambda v: f"at {v['how far']}")
    make(tmp_path, log_step_count_steps=None).train(data(), [hook], steps=6)
    assert [r.message for r in caplog.records if r.message.startswith("at ")] == ["at 1", "at 3", "at 5"]


def test_nan_ends_training(tmp_path):
    with pytest.raises(est.NanLossDuringTrainingError, match="Lower the learning rate"):
        make(tmp_path, rate=1e20).train(data(), steps=200)
    stopped = make(tmp_path / "other", rate=1e20)
    with pytest.raises(est.NanLossDuringTrainingError):
        stopped.train(data(), [est.NanTensorHook(fail_on_nan_loss=False)], steps=200)


def test_final_ops(tmp_path):
    hook = est.FinalOpsHook(["loss", "global_step"])
    make(tmp_path).train(data(), [hook], steps=2)
    loss, step = hook.final_ops_values
    assert step == 2 and loss > 0


def test_checkpoint_listeners(tmp_path):
    class Listens(est.CheckpointSaverListener):
        told = []

        def begin(self):
            self.told.append("begin")

        def before_save(self, session, step):
            self.told.append(("before", step))

        def after_save(self, session, step):
            self.told.append(("after", step))
            return step >= 4

        def end(self, session, step):
            self.told.append(("end", step))

    listener = Listens()
    make(tmp_path, save_checkpoints_steps=2).train(data(), steps=100, saving_listeners=[listener])
    assert listener.told == [
        "begin",
        ("before", 0), ("after", 0), ("before", 2), ("after", 2), ("before", 4), ("after", 4),
        ("end", 4),
    ]  # fmt: skip


def test_summaries_lie_in_event_files(tmp_path):
    counter = est.StepCounterHook(every_n_steps=2, output_dir=tmp_path / "steps")
    make(tmp_path, save_summary_steps=2).train(data(), [counter], steps=6)
    assert set(read_eval_metrics(tmp_path)) == {1, 3, 5} and "loss" in read_eval_metrics(tmp_path)[3]
    assert counter.rates and set(read_eval_metrics(tmp_path / "steps")) == {2, 4, 6}


def test_in_memory_evaluation(tmp_path):
    e = make(tmp_path)
    hook = est.InMemoryEvaluatorHook(e, data(1), every_n_iter=2)
    e.train(data(), [hook], steps=5)
    assert [int(r["global_step"]) for r in hook.results] == [0, 2, 4, 5]
    losses = [r["loss"] for r in hook.results]
    assert losses == sorted(losses, reverse=True)
    assert set(read_eval_metrics(e.eval_dir())) == {0, 2, 4, 5}


@pytest.mark.parametrize(
    "make_hook, expected",
    [
        (lambda e: est.stop_if_lower_hook(e, "loss", 1.5, run_every_secs=None, run_every_steps=1), 3),
        (lambda e: est.stop_if_higher_hook(e, "loss", 1e9, run_every_secs=None, run_every_steps=1), 9),
        (lambda e: est.stop_if_no_increase_hook(e, "loss", 2, run_every_secs=None, run_every_steps=1), 3),
        (lambda e: est.stop_if_no_decrease_hook(e, "loss", 2, run_every_secs=None, run_every_steps=1), 9),
        (lambda e: est.make_early_stopping_hook(e, lambda: True), 0),
    ],
)
def test_early_stopping(tmp_path, make_hook, expected):
    e = make(tmp_path)
    evaluates = est.InMemoryEvaluatorHook(e, data(1), every_n_iter=1)
    e.train(data(), [evaluates, make_hook(e)], steps=9)
    assert abs(int(e.get_variable_value("global_step")) - expected) <= 1


def test_profile(tmp_path):
    make(tmp_path).train(data(), [est.ProfilerHook(save_steps=2, output_dir=tmp_path / "profile")], steps=4)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_timer():
    timer = est.SecondOrStepTimer(every_steps=3)
    assert timer.should_trigger_for_step(1)
    timer.update_last_triggered_step(1)
    assert [timer.should_trigger_for_step(s) for s in (2, 3, 4)] == [False, False, True]
    assert timer.next_step(2, None) == 4
