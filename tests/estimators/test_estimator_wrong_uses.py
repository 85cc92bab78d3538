"""Wrong uses and what their messages say: what was expected, what came, and the cure."""

# ruff: noqa: E501  a row a case

import numpy as np
import pytest

from lamina import estimators as est
from lamina.datasets import Dataset

fc = est.feature_column
X = np.arange(4, dtype="float32")
COLUMN = fc.numeric_column("x")


def data(features=None, labels=X, size=4):
    features = {"x": X} if features is None else features
    table = features if labels is None else (features, labels)
    return lambda: Dataset.from_tensor_slices(table).batch(size)


def regressor(**more):
    return est.LinearRegressor([COLUMN], **more)


def classifier(**more):
    return est.LinearClassifier([COLUMN], **more)


def returning(value):
    return est.Estimator(lambda features, labels, mode: value).train(data(), steps=1)


def other_shape(tmp_path):
    est.DNNRegressor([4], [COLUMN], str(tmp_path)).train(data(), steps=1)
    return est.DNNRegressor([5], [COLUMN], str(tmp_path)).evaluate(data())


def other_columns(tmp_path):
    regressor(model_dir=str(tmp_path)).train(data(), steps=1)
    z = fc.numeric_column("z")
    return est.LinearRegressor([z], str(tmp_path)).evaluate(data({"z": X}))


def changed_model(features, labels, mode):
    """Makes one variable more in its second run."""
    changed_model.runs += 1
    w = est.get_variable("w", (), initializer="zeros")
    if changed_model.runs > 1:
        w = est.get_variable("v", (), initializer="zeros")
    return est.EstimatorSpec(mode, loss=w.value, optimizer=est.optimizers.SGD(0.1))


changed_model.runs = 0


CASES = [
    ("unknown feature key", lambda t: regressor().train(data({"y": X}), steps=1), "feature 'x' is not among the features"),
    ("text for numbers", lambda t: regressor().train(data({"x": np.array(list("abcd"))}), steps=1), "must hold numbers"),
    ("features without names", lambda t: regressor().train(data(X), steps=1), "must be a dict by name"),
    ("label out of vocabulary", lambda t: classifier(label_vocabulary=["a", "b"]).train(data(None, np.array(["a", "b", "c", "a"])), steps=1), "label 'c' is not in label_vocabulary"),
    ("label out of range", lambda t: classifier().train(data(None, np.array([0, 1, 2, 1])), steps=1), "class numbers from 0 to 1"),
    ("text labels without a vocabulary", lambda t: classifier().train(data(None, np.array(list("abab"))), steps=1), "Pass label_vocabulary"),
    ("numbers with a vocabulary", lambda t: classifier(label_vocabulary=["a", "b"]).train(data(None, np.array([0, 1, 0, 1])), steps=1), "labels must be text such as 'a'"),
    ("labels of the wrong rank", lambda t: regressor().train(data(None, np.ones((4, 2), "float32")), steps=1), r"labels must have the shape \(batch,\) or \(batch, 1\)"),
    ("negative counts", lambda t: est.LinearEstimator(est.PoissonRegressionHead(), [COLUMN]).train(data(None, X - 9), steps=1), "labels must be counts"),
    ("labels with NaN", lambda t: regressor().train(data(None, X * np.nan), steps=1), "labels hold NaN"),
    ("no labels", lambda t: regressor().train(data(labels=None), steps=1), "needs labels"),
    ("missing weight column", lambda t: regressor(weight_column="w").train(data({"x": X, "v": X}), steps=1), "weight column 'w' is not among"),
    ("negative weights", lambda t: regressor(weight_column="w").train(data({"x": X, "w": X - 2}), steps=1), "weights must be 0 or more"),
    ("checkpoint of another shape", other_shape, r"is of another model: variable 'dnn/hiddenlayer_0/kernel' has the shape \(1, 4\)"),
    ("checkpoint of other columns", other_columns, "lacks 'linear/linear_model/z/weights'"),
    ("no such checkpoint", lambda t: regressor().evaluate(data(), checkpoint_path=str(t / "none")), "There is no checkpoint"),
    ("empty input_fn", lambda t: regressor().train(data({"x": X[:0]}, X[:0]), steps=1), "yields no batches"),
    ("input_fn is a Dataset", lambda t: regressor().train(data()(), steps=1), "input_fn must be a function"),
    ("input_fn returns nothing", lambda t: regressor().train(lambda: None, steps=1), "must return a Dataset"),
    ("unbatched Dataset", lambda t: regressor().train(lambda: Dataset.from_tensor_slices(({"x": X}, X)), steps=1), "must be a batch"),
    ("lengths differ", lambda t: regressor().train(lambda: iter([({"x": X}, X[:3])]), steps=1), "must have one length"),
    ("steps and max_steps", lambda t: regressor().train(data(), steps=1, max_steps=2), "give one of steps and max_steps"),
    ("no steps", lambda t: regressor().train(data(), steps=0), "steps must be an integer of at least 1"),
    ("a hook that is none", lambda t: regressor().train(data(), [print]), "must hold SessionRunHook"),
    ("unknown predict key", lambda t: list(regressor().predict(data(), ["prediction"])), "Did you mean 'predictions'"),
    ("one class", lambda t: classifier(n_classes=1), "n_classes must be an integer of at least 2"),
    ("short vocabulary", lambda t: classifier(n_classes=3, label_vocabulary=["a", "b"]), "one name for each of 3 classes"),
    ("two classes for MultiClassHead", lambda t: est.MultiClassHead(2), "BinaryClassHead has two classes"),
    ("logits of another width", lambda t: est.MultiClassHead(3).loss([0], np.zeros((1, 2))), "Give the last layer 3 units"),
    ("heads without names", lambda t: est.MultiHead([est.RegressionHead()]), "needs name="),
    ("unknown optimizer", lambda t: regressor(optimizer="Adamm"), "Did you mean 'Adam'"),
    ("unknown argument", lambda t: est.LinearRegressor(features=[COLUMN]), "unexpected keyword argument 'features'"),
    ("no columns", lambda t: est.LinearRegressor().train(data(), steps=1), "feature_columns is needed to train"),
    ("something else as a column", lambda t: est.LinearRegressor(["x"]), "list of feature columns"),
    ("categories in a network", lambda t: est.DNNRegressor([2], [fc.categorical_column_with_identity("x", 9)]).train(data({"x": X.astype(int)}), steps=1), "indicator_column or embedding_column"),
    ("no hidden units", lambda t: est.DNNLinearCombinedRegressor(dnn_feature_columns=[COLUMN]), "dnn_hidden_units is needed"),
    ("folders differ", lambda t: regressor(model_dir="a", config=est.RunConfig("b")), "Give one of them"),
    ("two checkpoint intervals", lambda t: est.RunConfig(save_checkpoints_steps=1, save_checkpoints_secs=1), "give one of save_checkpoints_steps"),
    ("unknown field of RunConfig", lambda t: est.RunConfig(save_checkpoint_steps=1), "Did you mean 'save_checkpoints_steps'"),
    ("model_fn returns an array", lambda t: returning(np.zeros(())), "must return an EstimatorSpec"),
    ("spec without a loss", lambda t: est.EstimatorSpec("train"), "needs loss="),
    ("spec without a train_op", lambda t: est.EstimatorSpec("train", loss=np.float32(1)), "needs train_op=optimizer.minimize"),
    ("a loss that is no scalar", lambda t: est.EstimatorSpec("eval", loss=np.zeros(3)), "Take its mean"),
    ("model_fn that changes", lambda t: est.Estimator(changed_model).train(data(), steps=1), "was not there when the function ran first"),
    ("text in a custom model_fn", lambda t: est.Estimator(lambda features, labels, mode: None).train(data({"c": np.array(list("abcd"))}), steps=1), "cannot enter a compiled step"),
    ("get_variable outside", lambda t: est.get_variable("w", ()), "works inside a model_fn only"),
    ("no such variable", lambda t: regressor().train(data(), steps=1).get_variable_value("linear/linear_model/x/weight"), "Did you mean"),
    ("nothing trained", lambda t: regressor().get_variable_names(), "Train it first"),
    ("warm start from nowhere", lambda t: regressor(warm_start_from=str(t / "none")).train(data(), steps=1), "There is no checkpoint"),
    ("predict before fit", lambda t: est.LinearRegressor().predict(np.zeros((2, 1))), "not fitted yet"),
    ("other width at predict", lambda t: est.LinearRegressor(epochs=1).fit(np.ones((4, 2)), X).predict(np.ones((4, 3))), "expecting 2 features"),
    ("unknown parameter", lambda t: regressor().set_params(epoch=1), "Did you mean 'epochs'"),
    ("shuffle not said", lambda t: est.numpy_input_fn({"x": X}, X), "shuffle must be True"),
    ("evaluation of nothing", lambda t: est.EvalSpec(None), "input_fn must be a function"),
]  # fmt: skip


@pytest.mark.parametrize("use, message", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_wrong_use(use, message, tmp_path):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        use(tmp_path)


def test_fields_of_run_config_without_a_meaning_say_so():
    with pytest.warns(UserWarning, match="session_config has no meaning here"):
        est.RunConfig(session_config=object())


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "must be JSON"),
        ('{"cluster": {"chief": ["a:1"]}, "task": {"type": "worker"}}', "is not in the cluster"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', "must have a 'chief'"),
        ('{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 1}}', "index is 1"),
    ],
)
def test_wrong_clusters(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        est.RunConfig()


def test_a_cluster_maps_to_processes(monkeypatch):
    cluster = '{"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}'
    monkeypatch.setenv("TF_CONFIG", f'{{"cluster": {cluster}, "task": {{"type": "worker", "index": 1}}}}')
    config = est.RunConfig()
    assert config.processes == ["a:1", "b:1", "c:1"] and config.process_id == 2 and not config.is_chief
    assert config.num_worker_replicas == 3 and config.num_ps_replicas == 1 and config.task_id == 1
