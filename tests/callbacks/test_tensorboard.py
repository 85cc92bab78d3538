"""Event files, read back by a parser of the wire format that knows nothing of the writer."""

import io
import os
import signal
import struct
import subprocess
import sys
import textwrap

import google_crc32c
import numpy as np
import pytest
from PIL import Image

import lamina
from lamina import callbacks, layers, optimizers
from lamina.summary import SummaryWriter, conceptual_graph, model_graph

X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = X[:, :1]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """A message as a dict from field number to the list of its values."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            size, at = varint(data, at)
            value, at = bytes(data[at : at + size]), at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def masked(data):
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """All events in the files of a folder, with their checksums checked."""
    found = []
    for name in sorted(os.listdir(folder)):
        if "tfevents" not in name:
            continue
        data = (folder / name).read_bytes()
        at = 0
        while at < len(data):
            size, crc = struct.unpack_from("<QI", data, at)
            record = data[at + 12 : at + 12 + size]
            assert crc == masked(data[at : at + 8])
            assert struct.unpack_from("<I", data, at + 12 + size)[0] == masked(record)
            found.append(fields(record))
            at += size + 16
    return found


def tensor(data):
    """dtype, shape and value of a TensorProto."""
    message = fields(data)
    shape = tuple(fields(d).get(1, [0])[0] for d in fields(message[2][0]).get(2, []))
    if message[1] == [7]:
        return 7, shape, message.get(8, [])
    dtype = {1: "<f4", 2: "<f8"}[message[1][0]]
    return message[1][0], shape, np.frombuffer(message[4][0], dtype).reshape(shape)


def values(folder):
    """{tag: [(step, plugin, data class, dtype, shape, value)]}."""
    found = {}
    for event in events(folder):
        for summary in event.get(5, []):
            for value in map(fields, fields(summary)[1]):
                metadata = fields(value[9][0])
                plugin = fields(metadata[1][0])[1][0].decode()
                row = (event.get(2, [0])[0], plugin, metadata.get(4, [0])[0], *tensor(value[8][0]))
                found.setdefault(value[1][0].decode(), []).append(row)
    return found


def scalars(folder):
    return {
        tag: [(row[0], float(row[5])) for row in rows]
        for tag, rows in values(folder).items()
        if rows[0][1] == "scalars"
    }


def network(rate=0.01):
    model = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(1, name="out")])
    model.compile(optimizers.Adam(rate), "mse", metrics=["mae"])
    return model


# ---- the writer


def test_scalar_bytes(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        assert not os.listdir(tmp_path)
        writer.scalar("a/b", np.float64(0.5), 3)
        writer.scalars({"c": 2, "d": np.array([3.0])}, 4, wall_time=12.5)
    first, second, third = events(tmp_path)
    assert first[3] == [b"brain.Event:2"] and first[1][0] > 1.6e9
    assert second[2] == [3] and third[1] == [12.5]
    got = values(tmp_path)
    assert got["a/b"] == [(3, "scalars", 1, 1, (), 0.5)]
    assert got["c"] == [(4, "scalars", 1, 1, (), 2.0)] and got["d"] == [(4, "scalars", 1, 1, (), 3.0)]
    name = os.path.basename(writer.path).split(".")
    assert name[:3] == ["events", "out", "tfevents"] and len(name[3]) == 10 and str(os.getpid()) in name


def test_writers_of_one_second_have_files_of_their_own(tmp_path):
    writers = [SummaryWriter(tmp_path) for _ in range(3)]
    for i, writer in enumerate(writers):
        writer.scalar("x", i, i)
    assert len({w.path for w in writers}) == 3
    writers[0].close()
    writers[0].scalar("x", 3, 3)
    assert len(os.listdir(tmp_path)) == 4
    for writer in writers:
        writer.close()


def test_what_is_no_number_is_refused(tmp_path):
    writer = SummaryWriter(tmp_path)
    with pytest.raises(TypeError, match=r"scalar 'x' must be a number, got an array of shape \(2,\)"):
        writer.scalar("x", np.zeros(2), 0)
    with pytest.raises(ValueError, match="image 'x' must have shape"):
        writer.image("x", np.zeros((4, 4)), 0)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "data", [np.arange(100.0), np.random.default_rng(1).normal(size=(50, 7)), np.array([-1, 5], "int8")]
)
def test_histogram(tmp_path, data):
    with SummaryWriter(tmp_path) as writer:
        writer.histogram("h", data, 2, buckets=10)
    ((step, plugin, _, dtype, shape, rows),) = values(tmp_path)["h"]
    assert (step, plugin, dtype, shape) == (2, "histograms", 2, (10, 3))
    counts, edges = np.histogram(data.astype(float), 10)
    np.testing.assert_allclose(rows[:, 0], edges[:-1])
    np.testing.assert_allclose(rows[:, 1], edges[1:])
    assert rows[:, 2].sum() == data.size and np.abs(rows[:, 2] - counts).sum() <= 2  # values on an edge may differ


def test_histogram_of_nothing_of_one_value_and_of_nan(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.histogram("h", [], 0)
        writer.histogram("h", np.full(5, 2.5), 1)
        writer.histogram("h", [np.nan, np.inf, 1.0, 2.0], 2)
    nothing, one, finite = (row[5] for row in values(tmp_path)["h"])
    assert nothing.shape == (30, 3) and not nothing.any()
    assert one[-1].tolist() == [2.5, 2.5, 5] and one[:-1, 2].sum() == 0
    assert finite[:, 2].sum() == 2 and finite[0, 0] == 1 and finite[-1, 1] == 2


@pytest.mark.parametrize("channels, mode", [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_images(tmp_path, channels, mode):
    pixels = np.random.default_rng(2).integers(0, 256, (5, 4, 6, channels)).astype("uint8")
    with SummaryWriter(tmp_path) as writer:
        writer.image("i", pixels, 1, max_outputs=2)
        writer.image("i", pixels[0] / np.float32(255), 2)
        writer.image("i", np.full((1, 1, channels), 7.0), 3)
    many, one, cut = (row[5] for row in values(tmp_path)["i"])
    assert many[:2] == [b"6", b"4"] and len(many) == 4
    for png, expected in [(many[2], pixels[0]), (many[3], pixels[1]), (one[2], pixels[0])]:
        image = Image.open(io.BytesIO(png))
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image).reshape(4, 6, channels), expected)
    assert (np.asarray(Image.open(io.BytesIO(cut[2]))) == 255).all()


def test_text(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.text("t", "één", 1)
        writer.text("t", ["a", "b"], 2)
    assert values(tmp_path)["t"] == [
        (1, "text", 2, 7, (), ["één".encode()]),
        (2, "text", 2, 7, (2,), [b"a", b"b"]),
    ]


def test_graph(tmp_path):
    inner = lamina.Sequential([lamina.Input((3,), name="in"), layers.Dense(3, name="a")], name="inner")
    x = lamina.Input((4,), name="x")
    h = layers.Dense(3, name="h")(x)
    model = lamina.Model(x, layers.Add(name="add")([inner(inner(h)), h]) * 2.0, name="m")
    nodes = {n.name: n for n in model_graph(model).node}
    assert {name: list(n.input) for name, n in nodes.items()} == {
        "m/x": [],
        "m/h": ["m/x"],
        "m/inner/in": ["m/h"],
        "m/inner/a": ["m/inner/in"],
        "m/inner_call_2/in": ["m/inner/a"],
        "m/inner_call_2/a": ["m/inner_call_2/in"],
        "m/add": ["m/inner_call_2/a", "m/h"],
        "m/multiply": ["m/add"],
    }
    assert nodes["m/h"].attr["parameters"].i == 15 and nodes["m/h"].op == "Dense"
    assert [d.size for d in nodes["m/h"].attr["_output_shapes"].list.shape[0].dim] == [-1, 3]
    with SummaryWriter(tmp_path) as writer:
        writer.graph(model_graph(model))
        writer.conceptual_graph(conceptual_graph(model))
    graph = events(tmp_path)[1][4][0]
    assert [fields(n)[1][0].decode() for n in fields(graph)[1]] == list(nodes)
    ((_, plugin, _, _, shape, text),) = values(tmp_path)["keras"]
    assert plugin == "graph_keras_model" and shape == () and b'"keras_history": ["h", 0, 0]' in text[0]


def test_graph_of_a_subclassed_model():
    class Net(lamina.Model):
        def __init__(self):
            super().__init__(name="net")
            self.head = layers.Dense(2)

        def call(self, x):
            return self.head(x)

    model = Net()
    model(X)
    assert [(n.name, n.op) for n in model_graph(model).node] == [("net/head", "Dense")]
    assert conceptual_graph(model) is None


# ---- the callback


def test_tags_steps_and_values_of_a_run(tmp_path):
    model = network()
    watch = callbacks.TensorBoard(tmp_path, histogram_freq=2, write_images=True, write_steps_per_second=True)
    fit = model.fit(X, Y, epochs=3, batch_size=8, validation_data=(X, Y), callbacks=[watch], verbose=0).history
    train, validation = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    assert set(train) == {"epoch_loss", "epoch_mae", "epoch_learning_rate", "epoch_steps_per_second"}
    assert set(validation) == {
        "epoch_loss",
        "epoch_mae",
        "evaluation_loss_vs_iterations",
        "evaluation_mae_vs_iterations",
    }
    for tag, found, log in [
        ("epoch_loss", train, "loss"),
        ("epoch_mae", train, "mae"),
        ("epoch_loss", validation, "val_loss"),
    ]:
        assert [s for s, _ in found[tag]] == [0, 1, 2]
        np.testing.assert_allclose([v for _, v in found[tag]], fit[log], rtol=1e-6)
    assert [s for s, _ in validation["evaluation_loss_vs_iterations"]] == [5, 10, 15]
    np.testing.assert_allclose([v for _, v in train["epoch_learning_rate"]], 0.01, rtol=1e-6)
    assert all(v > 0 for _, v in train["epoch_steps_per_second"])
    got = values(tmp_path / "train")
    rows = got["hidden/kernel/histogram"]
    assert [row[0] for row in rows] == [0, 2]
    kernel = np.asarray(model.get_layer("hidden").kernel.value)
    assert rows[-1][5][0, 0] == kernel.min() and rows[-1][5][-1, 1] == kernel.max() and rows[-1][5][:, 2].sum() == 12
    drawn = np.asarray(Image.open(io.BytesIO(got["hidden/kernel/image"][-1][5][2])))
    expected = (kernel - kernel.min()) / (kernel.max() - kernel.min())
    np.testing.assert_allclose(drawn, expected.T * 255, atol=0.51)
    assert "keras" in got and any(4 in e for e in events(tmp_path / "train"))


@pytest.mark.parametrize("freq, steps", [("batch", range(1, 11)), (1, range(1, 11)), (4, [4, 8])])
def test_logs_of_batches(tmp_path, freq, steps):
    seen = []

    class Note(callbacks.Callback):
        needs_live_state = False

        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    watch = callbacks.TensorBoard(tmp_path, update_freq=freq, write_graph=False, write_steps_per_second=True)
    network().fit(X, Y, epochs=2, batch_size=8, callbacks=[Note(), watch], verbose=0)
    found = scalars(tmp_path / "train")
    assert [s for s, _ in found["batch_loss"]] == list(steps)
    np.testing.assert_allclose([v for _, v in found["batch_loss"]], [seen[s - 1] for s in steps], rtol=1e-6)
    assert all(v > 0 for _, v in found["batch_steps_per_second"]) and "batch_mae" in found


def test_batches_still_run_many_a_call():
    for freq, wanted in (("epoch", False), (3, True)):
        watchers = callbacks.CallbackList([callbacks.TensorBoard(update_freq=freq)])
        assert watchers.wants_batches("train") == wanted and not watchers.needs_each_batch("train")

    class Own(callbacks.TensorBoard):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    assert callbacks.CallbackList([Own()]).wants_batches("train")


def test_numbers_of_batches_go_on_after_a_resume(tmp_path):
    first = callbacks.TensorBoard(tmp_path / "a", update_freq=2, write_graph=False)
    network().fit(X, Y, epochs=1, batch_size=8, callbacks=[first], verbose=0)
    state = first.get_state()
    second = callbacks.TensorBoard(tmp_path / "b", update_freq=2, write_graph=False)

    class Restore(callbacks.Callback):
        def on_train_begin(self, logs=None):
            second.set_state(state)

    network().fit(X, Y, epochs=2, initial_epoch=1, batch_size=8, callbacks=[second, Restore()], verbose=0)
    assert [s for s, _ in scalars(tmp_path / "a" / "train")["batch_loss"]] == [2, 4]
    assert [s for s, _ in scalars(tmp_path / "b" / "train")["batch_loss"]] == [6, 8, 10]
    assert [s for s, _ in scalars(tmp_path / "b" / "train")["epoch_loss"]] == [1]


def test_learning_rates_of_several_optimizers(tmp_path):
    model = network()
    chosen = optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.5, name="slow"), {"out/.*": optimizers.Adam(0.25, name="fast")})
    )
    model.compile(chosen, "mse")
    model.fit(X, Y, verbose=0, callbacks=[callbacks.TensorBoard(tmp_path, write_graph=False)])
    found = scalars(tmp_path / "train")
    assert found["epoch_learning_rate_slow"] == [(0, 0.5)] and found["epoch_learning_rate_fast"] == [(0, 0.25)]


def test_evaluate_alone(tmp_path):
    model = network()
    loss, _ = model.evaluate(X, Y, callbacks=[callbacks.TensorBoard(tmp_path)], verbose=0)
    assert os.listdir(tmp_path) == ["validation"]
    ((step, value),) = scalars(tmp_path / "validation")["evaluation_loss_vs_iterations"]
    assert step == 0 and value == pytest.approx(loss)


def test_profile(tmp_path):
    watch = callbacks.TensorBoard(tmp_path, profile_batch="2,4", write_graph=False)
    network().fit(X, Y, epochs=2, batch_size=8, callbacks=[watch], verbose=0)
    (run,) = (tmp_path / "train" / "plugins" / "profile").iterdir()
    assert any(p.name.endswith(".xplane.pb") and p.stat().st_size for p in run.iterdir())


@pytest.mark.parametrize("value", [-1, (3, 2), "a", (1, 2, 3), 1.5])
def test_profile_batch_is_checked(value):
    with pytest.raises(ValueError, match="profile_batch must be 0, the number of a batch"):
        callbacks.TensorBoard(profile_batch=value)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="update_freq must be 'epoch', 'batch' or a number of batches, got 'step'"):
        callbacks.TensorBoard(update_freq="step")
    with pytest.raises(ValueError, match="histogram_freq must be an integer of at least 0"):
        callbacks.TensorBoard(histogram_freq=-1)


def test_embeddings(tmp_path):
    model = lamina.Sequential(
        [lamina.Input((2,), dtype="int32"), layers.Embedding(5, 3, name="words"), layers.Flatten(), layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    ids = np.array([[0, 1], [2, 3]], "int32")
    watch = callbacks.TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata={"words": "labels.tsv"})
    model.fit(ids, np.ones((2, 1)), epochs=2, verbose=0, callbacks=[watch])
    config = (tmp_path / "projector_config.pbtxt").read_text()
    for line in ('tensor_name: "words"', 'tensor_path: "train/words.embeddings.tsv"', 'metadata_path: "labels.tsv"'):
        assert line in config
    table = np.loadtxt(tmp_path / "train" / "words.embeddings.tsv", delimiter="\t")
    np.testing.assert_allclose(table, np.asarray(model.layers[0].embeddings.value), rtol=1e-6)
    with pytest.raises(ValueError, match="names 'wrods'.*Did you mean 'words'"):
        model.fit(
            ids,
            np.ones((2, 1)),
            verbose=0,
            callbacks=[callbacks.TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata={"wrods": "a"})],
        )


def test_a_killed_run_loses_nothing(tmp_path):
    script = """
        import os, signal
        from lamina.summary import SummaryWriter
        writer = SummaryWriter(".")
        for step in range(20):
            writer.scalar("x", step, step)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path)
    assert process.returncode == -signal.SIGKILL
    assert scalars(tmp_path)["x"] == [(i, float(i)) for i in range(20)]
