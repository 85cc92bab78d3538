"""WandbLogger and MLflowLogger, on modules that note how they are called."""

import sys
import types

import numpy as np
import pytest

import lamina
from lamina import callbacks, layers

X = np.ones((8, 1), "float32")


def fit(logger, *others, epochs=2, **kwargs):
    model = lamina.Sequential([lamina.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(X, X, batch_size=2, epochs=epochs, verbose=0, callbacks=[logger, *others], **kwargs).history


class Fail(callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("on purpose")


class Restore(callbacks.Callback):
    def __init__(self, logger, state):
        super().__init__()
        self.logger, self.state = logger, state

    def on_train_begin(self, logs=None):
        self.logger.set_state(self.state)


class Run:
    def __init__(self, name):
        self.id, self.logged, self.metrics, self.ended = name, [], [], None
        self.info = types.SimpleNamespace(run_id=name)

    def log(self, values):
        self.logged.append(values)

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def finish(self, exit_code=None):
        self.ended = exit_code


@pytest.fixture
def wandb(monkeypatch):
    module = types.ModuleType("wandb")
    module.run, module.runs, module.inits = None, [], []

    def init(**arguments):
        module.inits.append(arguments)
        module.runs.append(Run(arguments.get("id", f"run{len(module.runs)}")))
        return module.runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_epochs(wandb):
    logger = callbacks.WandbLogger("digits", "first", {"units": 4}, mode="offline")
    history = fit(logger, validation_data=(X, X))
    assert wandb.inits == [{"project": "digits", "name": "first", "config": {"units": 4}, "mode": "offline"}]
    (run,) = wandb.runs
    assert run.metrics == [("epoch/epoch", None), ("epoch/*", "epoch/epoch")] and run.ended == 0
    assert [row["epoch/epoch"] for row in run.logged] == [0, 1]
    assert [row["epoch/val_loss"] for row in run.logged] == history["val_loss"]
    assert run.logged[0]["epoch/learning_rate"] == pytest.approx(0.01)


def test_wandb_batches(wandb):
    logger = callbacks.WandbLogger(log_freq=3)
    watchers = callbacks.CallbackList([logger])
    assert watchers.wants_batches("train") and not watchers.needs_each_batch("train")
    assert not callbacks.CallbackList([callbacks.WandbLogger()]).wants_batches("train")
    fit(logger)
    rows = [row for row in wandb.runs[0].logged if "batch/loss" in row]
    assert [row["batch/batch_step"] for row in rows] == [3, 6]
    assert ("batch/*", "batch/batch_step") in wandb.runs[0].metrics


def test_wandb_uses_an_open_run_and_leaves_it_open(wandb):
    wandb.run = Run("mine")
    fit(callbacks.WandbLogger())
    assert not wandb.inits and len(wandb.run.logged) == 2 and wandb.run.ended is None


def test_wandb_goes_on_after_a_resume(wandb):
    logger = callbacks.WandbLogger(log_freq="batch")
    fit(logger, epochs=1)
    state = logger.get_state()
    assert state["run_id"] == "run0"
    again = callbacks.WandbLogger(log_freq="batch")
    fit(again, Restore(again, state), initial_epoch=1)
    assert wandb.inits[1]["id"] == "run0" and wandb.inits[1]["resume"] == "allow"
    assert [row.get("batch/batch_step") for row in wandb.runs[1].logged] == [5, 6, 7, 8, None]


def test_wandb_is_told_of_a_failure(wandb):
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(callbacks.WandbLogger(), Fail())
    assert wandb.runs[0].ended == 1


@pytest.fixture
def mlflow(monkeypatch):
    module = types.ModuleType("mlflow")
    module.calls, module.active = [], None
    names = "set_tracking_uri set_experiment log_params log_text log_metrics end_run".split()

    def note(name):
        return lambda *args, **kwargs: module.calls.append((name, *args, *kwargs.values()))

    for name in names:
        setattr(module, name, note(name))

    def start_run(run_id=None, run_name=None):
        module.calls.append(("start_run", run_id, run_name))
        return Run(run_id or "run0")

    module.start_run, module.active_run = start_run, lambda: module.active
    monkeypatch.setitem(sys.modules, "mlflow", module)
    return module


def called(module, name):
    return [call[1:] for call in module.calls if call[0] == name]


def test_mlflow(mlflow):
    history = fit(callbacks.MLflowLogger("digits", "first", "file:/tmp/x", log_freq=4))
    assert [call[0] for call in mlflow.calls[:3]] == ["set_tracking_uri", "set_experiment", "start_run"]
    assert called(mlflow, "start_run") == [(None, "first")] and called(mlflow, "end_run") == [("FINISHED",)]
    (parameters,) = called(mlflow, "log_params")[0]
    assert parameters["epochs"] == 2 and parameters["steps"] == 4 and parameters["optimizer_name"] == "sgd"
    assert parameters["optimizer_learning_rate"] == pytest.approx(0.01)
    (text, name) = called(mlflow, "log_text")[0]
    assert name == "model_summary.txt" and "dense" in text
    rows = called(mlflow, "log_metrics")
    epochs = [(numbers["loss"], step) for numbers, step in rows if "loss" in numbers]
    assert epochs == list(zip(history["loss"], [0, 1], strict=True))
    assert [step for numbers, step in rows if "batch/loss" in numbers] == [4, 8]


def test_mlflow_resume_failure_and_active_run(mlflow):
    logger = callbacks.MLflowLogger()
    fit(logger, Restore(logger, {"run_id": "old", "done": 4, "done_in_epoch": 0}), initial_epoch=1)
    assert called(mlflow, "start_run") == [("old", None)] and not called(mlflow, "log_params")
    with pytest.raises(RuntimeError):
        fit(callbacks.MLflowLogger(), Fail())
    assert called(mlflow, "end_run") == [("FINISHED",), ("FAILED",)]
    mlflow.active, mlflow.calls[:] = Run("open"), []
    fit(callbacks.MLflowLogger())
    assert not called(mlflow, "start_run") and not called(mlflow, "end_run") and called(mlflow, "log_metrics")


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_the_extra_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    kind = {"wandb": callbacks.WandbLogger, "mlflow": callbacks.MLflowLogger}[name]
    with pytest.raises(ImportError, match=rf"pip install 'lamina\[{name}\]'"):
        kind()


def test_log_freq_is_checked(wandb):
    with pytest.raises(ValueError, match="WandbLogger: log_freq must be 'epoch', 'batch' or a number of batches"):
        callbacks.WandbLogger(log_freq="step")
