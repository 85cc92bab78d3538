"""Canned estimators: their variables, rows of tables, classic scripts, warm starts, continuous evaluation, exports."""

import os

import jax.numpy as jnp
import numpy as np
import pytest

from lamina import estimators as est
from lamina import layers
from lamina.checkpoint import load_checkpoint
from lamina.datasets import Dataset, iris

fc = est.feature_column
rng = np.random.default_rng(3)


def batches(features, labels=None, size=16, repeat=-1):
    table = features if labels is None else (features, labels)
    return lambda: Dataset.from_tensor_slices(table).batch(size).repeat(repeat)


# ---- classic scripts


def test_premade_iris(tmp_path):
    (x, y), _ = iris.load_data()[0], None
    names = ["SepalLength", "SepalWidth", "PetalLength", "PetalWidth"]
    features = {n: x[:, i].astype("float32") for i, n in enumerate(names)}

    def input_fn(features, labels, training=True, batch_size=64):
        data = Dataset.from_tensor_slices((dict(features), labels))
        if training:
            data = data.shuffle(1000, seed=1).repeat()
        return data.batch(batch_size)

    classifier = est.DNNClassifier(
        feature_columns=[fc.numeric_column(key=key) for key in names],
        hidden_units=[30, 10],
        n_classes=3,
        optimizer=est.optimizers.Adagrad(learning_rate=0.05),
        config=est.RunConfig(str(tmp_path), tf_random_seed=4),
    )
    classifier.train(input_fn=lambda: input_fn(features, y), steps=600)
    result = classifier.evaluate(input_fn=lambda: input_fn(features, y, training=False))
    assert result["accuracy"] > 0.93
    expected = ["setosa", "versicolor"]
    predict_x = {
        "SepalLength": [5.1, 5.9],
        "SepalWidth": [3.3, 3.0],
        "PetalLength": [1.7, 4.2],
        "PetalWidth": [0.5, 1.5],
    }
    arrays = {k: np.array(v, "float32") for k, v in predict_x.items()}
    found = list(classifier.predict(input_fn=lambda: Dataset.from_tensor_slices(arrays).batch(256)))
    species = ["setosa", "versicolor", "virginica"]
    assert [species[p["class_ids"][0]] for p in found] == expected
    assert found[0]["probabilities"].shape == (3,) and found[0]["classes"] == [b"0"]


def passengers(n=400):
    sex = rng.choice(["male", "female"], n)
    age, fare = rng.uniform(1, 80, n), rng.gamma(2.0, 20.0, n)
    klass = rng.choice(["First", "Second", "Third"], n)
    score = 2.5 * (sex == "female") - 0.02 * age + 1.0 * (klass == "First") - 0.8
    return {"sex": sex, "age": age, "fare": fare, "class": klass}, (rng.random(n) < 1 / (1 + np.exp(-score))).astype(
        int
    )


@pytest.mark.slow
def test_linear_model_on_passengers(tmp_path):
    features, survived = passengers()
    columns = [
        fc.categorical_column_with_vocabulary_list(name, sorted(set(features[name]))) for name in ("sex", "class")
    ] + [fc.numeric_column(name, dtype="float32") for name in ("age", "fare")]
    linear = est.LinearClassifier(feature_columns=columns, model_dir=str(tmp_path / "a"))
    linear.train(batches(features, survived, 32), steps=300)
    result = linear.evaluate(batches(features, survived, 32, 1))
    assert result["accuracy"] > result["accuracy_baseline"] + 0.05
    cross = fc.crossed_column(["sex", "class"], hash_bucket_size=100)
    crossed = est.LinearClassifier(feature_columns=[*columns, cross], model_dir=str(tmp_path / "b"))
    crossed.train(batches(features, survived, 32), steps=300)
    assert crossed.evaluate(batches(features, survived, 32, 1))["auc"] > 0.75
    assert crossed.get_variable_value("linear/linear_model/class_X_sex/weights").shape == (100, 1)


def test_wide_and_deep_on_a_census(tmp_path):
    n = 600
    jobs = np.array(["clerk", "sales", "tech", "craft"])
    features = {
        "age": rng.uniform(18, 80, n),
        "hours": rng.uniform(10, 60, n),
        "job": rng.choice(jobs, n),
        "education": rng.choice(["HS", "BA", "MA"], n),
    }
    rich = ((features["job"] == "tech") & (features["education"] != "HS") | (features["hours"] > 52)).astype(int)
    job = fc.categorical_column_with_hash_bucket("job", 50)
    education = fc.categorical_column_with_vocabulary_list("education", ["HS", "BA", "MA"])
    ages = fc.bucketized_column(fc.numeric_column("age"), [25, 40, 60])
    wide = [job, education, ages, fc.crossed_column(["job", "education"], 200)]
    scaled = fc.numeric_column("hours", normalizer_fn=lambda h: (h - 35) / 15)
    deep = [scaled, fc.indicator_column(education), fc.embedding_column(job, 4)]
    model = est.DNNLinearCombinedClassifier(
        model_dir=str(tmp_path),
        linear_feature_columns=wide,
        linear_optimizer=lambda: est.optimizers.Ftrl(0.1),
        dnn_feature_columns=deep,
        dnn_hidden_units=[16, 8],
        dnn_optimizer=est.optimizers.Adam(0.01),
        config=est.RunConfig(tf_random_seed=1),
    )
    model.train(batches(features, rich, 50), steps=300)
    assert model.evaluate(batches(features, rich, 50, 1))["accuracy"] > 0.9
    names = model.get_variable_names()
    assert "training/Ftrl/linear/linear_model/job/weights/accumulator" in names
    assert "training/Adam/dnn/logits/kernel/m" in names


def test_numpy_and_pandas_input(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = np.arange(10.0)
    model = est.LinearRegressor([fc.numeric_column("x")], str(tmp_path), optimizer=est.optimizers.SGD(0.01))
    model.train(est.numpy_input_fn({"x": x}, 2 * x, batch_size=5, num_epochs=None, shuffle=False), steps=200)
    table = pandas.DataFrame({"x": x})
    evaluate = est.pandas_input_fn(table, pandas.Series(2 * x), batch_size=4, shuffle=False)
    assert model.evaluate(evaluate)["average_loss"] < 0.1
    assert len(list(model.predict(est.pandas_input_fn(table, shuffle=False)))) == 10


# ---- rows of large tables


def reference_rows(optimizer, table, ids, gradients, steps=3):
    """Lazy momentum or Adagrad in float64, row by row."""
    table = table.astype(np.float64)
    slot = np.full_like(table, 0.1 if optimizer == "Adagrad" else 0.0)
    for step in range(steps):
        total = np.zeros_like(table)
        np.add.at(total, ids[step], gradients[step])
        for row in np.unique(ids[step]):
            if optimizer == "Adagrad":
                slot[row] += total[row] ** 2
                table[row] -= 0.5 * total[row] / np.sqrt(slot[row])
            else:
                slot[row] = 0.9 * slot[row] - 0.5 * total[row]
                table[row] += slot[row]
    return table


@pytest.mark.parametrize("rows", [50, 20_000])
@pytest.mark.parametrize("kind", ["Adagrad", "SGD"])
def test_rows_not_in_the_batch_stay(tmp_path, rows, kind):
    options = {"momentum": 0.9} if kind == "SGD" else {}
    start = rng.normal(size=(rows, 2)).astype("float32")

    def model_fn(features, labels, mode):
        table = est.get_variable("table", initializer=start)
        looked_up = est.lookup(table, features["ids"])
        loss = jnp.sum(looked_up * features["g"])
        optimizer = getattr(est.optimizers, kind)(0.5, **options)
        return est.EstimatorSpec(mode, loss=loss, train_op=optimizer.minimize(loss))

    ids = rng.integers(0, rows, (3, 4, 2))
    ids[:, 1] = ids[:, 0]  # repeated ids add up
    gradients = rng.normal(size=(3, 4, 2, 2)).astype("float32")
    data = [{"ids": i.astype("int32"), "g": g} for i, g in zip(ids, gradients, strict=True)]
    e = est.Estimator(model_fn, str(tmp_path)).train(lambda: iter(data))
    assert bool(e._model.optimizer.by_rows) == (rows > 1000)
    expected = reference_rows(kind, start, ids.reshape(3, -1), gradients.reshape(3, -1, 2))
    np.testing.assert_allclose(e.get_variable_value("table"), expected, rtol=1e-4, atol=1e-6)


def test_a_table_read_as_a_whole_has_a_whole_gradient(tmp_path):
    def model_fn(features, labels, mode):
        table = est.get_variable("table", (20_000, 1), initializer="ones")
        loss = jnp.sum(est.lookup(table, features["ids"])) + jnp.sum(table.value)
        return est.EstimatorSpec(mode, loss=loss, optimizer=est.optimizers.SGD(0.25))

    data = [{"ids": np.array([[7], [7]], "int32")}]
    e = est.Estimator(model_fn, str(tmp_path)).train(lambda: iter(data))
    found = e.get_variable_value("table")[:, 0]
    assert found[7] == 1 - 0.75 and (np.delete(found, 7) == 0.75).all()


# ---- warm starts


def vocabulary_model(folder, words, **arguments):
    column = fc.categorical_column_with_vocabulary_list("w", words)
    return est.LinearRegressor([column], str(folder), optimizer=est.optimizers.SGD(0.5), **arguments)


def test_warm_start_follows_a_changed_vocabulary(tmp_path):
    words = {"w": np.array(["a", "b", "c", "a"])}
    labels = np.array([1.0, 2.0, 3.0, 1.0])
    old = vocabulary_model(tmp_path / "old", ["a", "b", "c"]).train(batches(words, labels, 4), steps=20)
    name = "linear/linear_model/w/weights"
    info = est.VocabInfo(["c", "x", "a"], 3, 0, ["a", "b", "c"])
    settings = est.WarmStartSettings(str(tmp_path / "old"), var_name_to_vocab_info={name: info})
    new = vocabulary_model(tmp_path / "new", ["c", "x", "a"], warm_start_from=settings)
    new.train(batches({"w": np.array(["x"])}, np.array([9.0]), 1), steps=1)
    before, after = old.get_variable_value(name), new.get_variable_value(name)
    assert after[0] == before[2] and after[2] == before[0] and after[1] != 0
    assert int(new.get_variable_value("global_step")) == 1


def test_warm_start_by_pattern_and_under_another_name(tmp_path):
    x, y = {"x": np.ones(4)}, np.full(4, 2.0)
    model = est.LinearRegressor([fc.numeric_column("x")], str(tmp_path / "a"), optimizer=est.optimizers.SGD(0.1))
    model.train(batches(x, y, 4), steps=3)
    weight, bias = "linear/linear_model/z/weights", "linear/linear_model/bias_weights"
    settings = est.WarmStartSettings(
        str(tmp_path / "a"), [weight], var_name_to_prev_var_name={weight: "linear/linear_model/x/weights"}
    )
    config = est.RunConfig(save_checkpoints_steps=1)
    other = est.LinearRegressor([fc.numeric_column("z")], str(tmp_path / "b"), config=config, warm_start_from=settings)
    other.train(batches({"z": np.ones(4)}, y, 4), steps=1)
    first = load_checkpoint(str(tmp_path / "b" / "model.ckpt-0"))
    assert first.get_tensor(weight) == model.get_variable_value("linear/linear_model/x/weights")
    assert first.get_tensor(bias) == 0


# ---- continuous evaluation, exporters, exports


def test_train_and_evaluate_with_exporters(tmp_path):
    x = rng.normal(size=(32, 2)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    model = est.DNNClassifier(
        [4],
        [fc.numeric_column("x", 2)],
        config=est.RunConfig(str(tmp_path), save_checkpoints_steps=4, tf_random_seed=0),
    )
    receiver = est.export.build_raw_serving_input_receiver_fn({"x": x})
    exporters = [
        est.FinalExporter("final", receiver),
        est.LatestExporter("latest", receiver, exports_to_keep=1),
        est.BestExporter("best", receiver, compare_fn=lambda best, now: now["loss"] < best["loss"]),
    ]
    spec = est.EvalSpec(batches({"x": x}, y, 16, 1), steps=None, exporters=exporters, throttle_secs=0)
    results, exported = est.train_and_evaluate(model, est.TrainSpec(batches({"x": x}, y), max_steps=10), spec)
    assert results["global_step"] == 10
    assert sorted(model._results[""]) == [4, 8, 10]
    assert sorted(os.listdir(tmp_path / "export")) == ["best", "final", "latest"]
    assert len(os.listdir(tmp_path / "export" / "latest")) == len(os.listdir(tmp_path / "export" / "final")) == 1
    assert os.path.isfile(os.path.join(exported[0], "saved_model.pb"))


def test_the_evaluator_waits_for_the_last_checkpoint(tmp_path, monkeypatch):
    column, x = fc.numeric_column("x"), {"x": np.ones(4)}
    config = est.RunConfig(str(tmp_path))
    est.LinearRegressor([column], config=config).train(batches(x, np.ones(4), 4), steps=5)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"chief": ["h:1"]}, "task": {"type": "evaluator", "index": 0}}')
    evaluator = est.LinearRegressor([column], config=est.RunConfig(str(tmp_path)))
    train = est.TrainSpec(lambda: pytest.fail("an evaluator does not train"), max_steps=5)
    spec = est.EvalSpec(batches(x, np.ones(4), 4, 1), start_delay_secs=0, throttle_secs=0)
    results, _ = est.train_and_evaluate(evaluator, train, spec)
    assert results["global_step"] == 5


def test_an_export_predicts_the_same(tmp_path):
    from lamina.export.load import load_saved_model

    x = rng.normal(size=(20, 2)).astype("float32")
    ids = rng.integers(0, 4, 20)
    columns = [fc.numeric_column("x", 2), fc.indicator_column(fc.categorical_column_with_identity("c", 4))]
    model = est.DNNRegressor([4], columns, str(tmp_path)).train(batches({"x": x, "c": ids}, x[:, 0]), steps=5)
    receiver = est.export.build_raw_serving_input_receiver_fn({"x": x, "c": ids})
    path = model.export_saved_model(str(tmp_path / "out"), receiver, assets_extra={"notes.txt": __file__})
    assert os.path.isfile(os.path.join(path, "assets.extra", "notes.txt"))
    served = load_saved_model(path)
    found = served(c=ids.astype("int32"), x=x)
    found = found["predictions"] if isinstance(found, dict) else found
    expected = np.stack([p["predictions"] for p in model.predict(batches({"x": x, "c": ids}, None, 20, 1))])
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


# ---- made of others


def test_added_metrics(tmp_path):
    x, y = {"x": np.arange(6.0)}, np.arange(6.0)
    model = est.LinearRegressor([fc.numeric_column("x")], str(tmp_path)).train(batches(x, y, 6), steps=2)

    def metric_fn(labels, predictions, features):
        error = labels - predictions["predictions"]
        return {
            "worst": jnp.max(jnp.abs(error)),
            "mae": est.metrics.mean_absolute_error(labels, predictions["predictions"]),
        }

    found = est.add_metrics(model, metric_fn).evaluate(batches(x, y, 6, 1))
    guess = np.array([p["predictions"][0] for p in model.predict(batches(x, None, 6, 1))])
    assert found["worst"] == pytest.approx(np.abs(y - guess).max(), rel=1e-5)
    assert found["mae"] == pytest.approx(np.abs(y - guess).mean(), rel=1e-5)
    assert "worst" not in model.evaluate(batches(x, y, 6, 1))


def test_a_compiled_model_as_an_estimator(tmp_path):
    from lamina import Input, Model, Sequential

    model = Sequential([Input((3,)), layers.Dense(2, activation="relu"), layers.Dense(1, name="out")])
    model.compile("sgd", "mse", metrics=["mae"])
    weights = model.get_weights()
    x = rng.normal(size=(8, 3)).astype("float32")
    y = x.sum(1, keepdims=True)
    e = est.model_to_estimator(model, model_dir=str(tmp_path))
    e.train(lambda: Dataset.from_tensor_slices((x, y)).batch(8).repeat(), steps=5)
    for kept, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)
    model.fit(x, y, batch_size=8, epochs=5, verbose=0, shuffle=False)
    found = e.evaluate(lambda: Dataset.from_tensor_slices((x, y)).batch(8))
    loss, mae = model.evaluate(x, y, verbose=0)
    assert found["loss"] == pytest.approx(loss, rel=1e-4) and found["mae"] == pytest.approx(mae, rel=1e-4)
    predicted = np.stack([p["out"] for p in e.predict(lambda: Dataset.from_tensor_slices(x).batch(8))])
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)
    a, b = Input((3,), name="a"), Input((3,), name="b")
    two = Model([a, b], [layers.Dense(1, name="p")(a), layers.Dense(1, name="q")(b)])
    two.compile("sgd", {"p": "mse", "q": "mae"})
    data = ({"a": x, "b": x}, {"p": y, "q": y})
    found = est.model_to_estimator(two).train(lambda: Dataset.from_tensor_slices(data).batch(8), steps=1)
    assert set(next(found.predict(lambda: Dataset.from_tensor_slices(data[0]).batch(8)))) == {"p", "q"}


# ---- others


@pytest.mark.slow
def test_kmeans_finds_clusters():
    centers = np.array([[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]])
    x = np.concatenate([c + rng.normal(0, 0.3, (30, 2)) for c in centers]).astype("float32")
    for start, mini in (("kmeans_plus_plus", False), ("kmeans_plus_plus", True), (centers + 1, False)):
        model = est.KMeans(3, initial_clusters=start, use_mini_batch=mini, seed=2, epochs=20).fit(x)
        found = model.cluster_centers()
        away = np.sqrt(((found[:, None] - centers) ** 2).sum(-1)).min(0)
        assert away.max() < 0.3
        assert len(set(model.predict(x[:30]).tolist())) == 1
        assert model.score(x) > -2 * 90 * 0.3**2 * 1.5


def test_kmeans_stops_when_settled(tmp_path):
    x = rng.normal(size=(40, 2)).astype("float32")
    model = est.experimental.KMeans(2, str(tmp_path), "random", seed=1, use_mini_batch=False, relative_tolerance=0.01)
    model.train(lambda: Dataset.from_tensor_slices(x).batch(40).repeat(), steps=500)
    assert 1 < int(model.get_variable_value("global_step")) < 100
    indices = list(model.predict_cluster_index(lambda: Dataset.from_tensor_slices(x).batch(40)))
    assert len(indices) == 40 and indices[0].dtype == np.int64
    assert next(model.transform(lambda: Dataset.from_tensor_slices(x).batch(40))).shape == (2,)


def test_recurrent_classifier_with_context_and_own_cells(tmp_path):
    tokens = rng.integers(0, 4, (64, 6))
    labels = (tokens == 3).any(1).astype(int)
    column = fc.indicator_column(fc.sequence_categorical_column_with_identity("s", 4))
    model = est.experimental.RNNClassifier(
        [column],
        [fc.numeric_column("c")],
        rnn_cell_fn=lambda mode: [layers.GRUCell(8), layers.GRUCell(8)],
        model_dir=str(tmp_path),
        optimizer=est.optimizers.Adam(0.02),
        config=est.RunConfig(tf_random_seed=1),
    )
    features = {"s": tokens, "c": np.zeros(64)}
    model.train(batches(features, labels, 32), steps=120)
    assert model.evaluate(batches(features, labels, 32, 1))["accuracy"] > 0.9
    assert model.get_variable_value("rnn_model/rnn/stacked_rnn_cells/gru_cell_1/kernel").shape == (8, 24)


# ---- dual coordinate ascent


@pytest.mark.parametrize("l1", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_sdca_reaches_the_minimum(tmp_path, kind, l1):
    """Against gradient descent with a proximal step in float64."""
    n, l2 = 24, 0.5
    x = rng.normal(size=(n, 2)).astype("float32")
    words = rng.choice(["a", "b", ""], n)
    weights = rng.uniform(0.5, 2, n).astype("float32")
    score = x @ [1.0, -1.5] + (words == "a")
    y = score + 0.1 * rng.normal(size=n) if kind == "regression" else (score + rng.normal(size=n) > 0).astype(int)
    columns = [fc.numeric_column("x", 2), fc.categorical_column_with_vocabulary_list("w", ["a", "b"])]
    sdca = est.LinearSDCA("id", symmetric_l1_regularization=l1, symmetric_l2_regularization=l2, capacity=512)
    make = est.LinearRegressor if kind == "regression" else est.LinearClassifier
    model = make(columns, str(tmp_path), weight_column="c", optimizer=sdca)
    features = {"x": x, "w": words, "c": weights, "id": np.array([f"row {i}" for i in range(n)])}
    model.train(batches(features, y, 8), steps=240)

    design = np.column_stack([np.ones(n), x, words == "a", words == "b"]).astype(float)
    w = np.zeros(5)
    for _ in range(20_000):
        z = design @ w
        slope = z - y if kind == "regression" else 1 / (1 + np.exp(-z)) - y
        w = w - 0.005 * (design.T @ (weights * slope) + l2 * w)
        w = np.sign(w) * np.maximum(np.abs(w) - 0.005 * l1, 0)
    found = [model.get_variable_value(f"linear/linear_model/{v}") for v in ("bias_weights", "x/weights", "w/weights")]
    np.testing.assert_allclose(np.concatenate([f.ravel() for f in found]), w, atol=5e-3)
