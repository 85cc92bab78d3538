"""Event files of the TensorBoard callback, opened in the real TensorBoard.

    python tests/oracles/tensorboard_files.py write FOLDER   # where lamina is installed
    python tests/oracles/tensorboard_files.py read FOLDER    # where tensorboard is installed; neither needs the other

The second asks a running TensorBoard, over HTTP on this machine, for what the first wrote, with both of its readers.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path


def write(folder: Path) -> None:
    """Trains a model with the callback and notes what must be found."""
    import numpy as np

    import lamina
    from lamina import callbacks, layers
    from lamina.summary import SummaryWriter

    inner = lamina.Sequential([lamina.Input((4,)), layers.Dense(3, name="first"), layers.Dense(3)], name="inner")
    numbers, words = lamina.Input((4,), name="numbers"), lamina.Input((2,), dtype="int32", name="words")
    x = layers.Dense(4, activation="relu", name="hidden")(numbers)
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(6, 3, name="table")(words))
    y = layers.Dense(1, name="out")(layers.Add(name="sum")([inner(x), embedded]) * 2.0)
    model = lamina.Model([numbers, words], y, name="net")
    model.compile("adam", "mse", metrics=["mae"])
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(80, 4)).astype("float32"), rng.integers(0, 6, (80, 2)).astype("int32")]
    target = data[0][:, :1]
    logged: dict[str, list[list[float]]] = {}

    class Note(callbacks.Callback):
        needs_live_state = False

        def on_train_batch_end(self, batch, logs=None):
            logged.setdefault("batch_loss", []).append(logs["loss"])

    watcher = callbacks.TensorBoard(
        folder / "logs",
        histogram_freq=1,
        write_images=True,
        write_steps_per_second=True,
        update_freq=2,
        embeddings_freq=1,
        embeddings_metadata="labels.tsv",
    )
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "labels.tsv").write_text("".join(f"word{i}\n" for i in range(6)))
    history = model.fit(
        data,
        target,
        epochs=3,
        batch_size=8,
        validation_data=(data, target),
        callbacks=[Note(), watcher],
        verbose=0,
    ).history
    with SummaryWriter(folder / "logs" / "extra") as writer:
        writer.text("note", "**bold**", 1)
        writer.image("picture", rng.random((2, 5, 6, 3)), 7)
        for step, values in enumerate(([], np.ones(4), rng.normal(size=1000))):
            writer.histogram("values", values, step)
    kernel = np.asarray(model.get_layer("out").kernel.value).astype(float)
    expected = {
        "scalars": {
            "train": {
                "epoch_loss": dict(enumerate(history["loss"])),
                "epoch_mae": dict(enumerate(history["mae"])),
                "epoch_learning_rate": {i: 0.001 for i in range(3)},
                "batch_loss": {i + 1: v for i, v in enumerate(logged["batch_loss"]) if i % 2},
            },
            "validation": {
                "epoch_loss": dict(enumerate(history["val_loss"])),
                "evaluation_loss_vs_iterations": {10 * (i + 1): v for i, v in enumerate(history["val_loss"])},
            },
        },
        "kernel": [float(kernel.min()), float(kernel.max()), kernel.size],
        "table": np.asarray(model.get_layer("table").embeddings.value).tolist(),
        "nodes": ["net/numbers", "net/hidden", "net/inner/first", "net/sum", "net/out"],
        "edges": [["net/inner/dense", "net/sum"], ["net/hidden", "net/inner/input_layer"]],
    }
    (folder / "expected.json").write_text(json.dumps(expected))


def read(folder: Path) -> None:
    """Asks TensorBoard for everything that was written."""
    from tensorboard import default, program

    expected = json.loads((folder / "expected.json").read_text())
    for fast in ("true", "false"):  # the data server in Rust, and the reader in Python
        server = program.TensorBoard(default.get_plugins())
        server.configure(argv=[None, "--logdir", str(folder / "logs"), "--port", "0", "--load_fast", fast])
        check(server.launch(), expected)
        print(f"load_fast={fast}: all found")


def check(url: str, expected: dict) -> None:
    """Compares what a running TensorBoard serves with what was written."""
    import struct
    import time

    def get(path: str, **query: object) -> bytes:
        with urllib.request.urlopen(f"{url}data/{path}?{urllib.parse.urlencode(query)}") as answer:
            return answer.read()

    def ask(path: str, **query: object):
        return json.loads(get(path, **query))

    deadline = time.time() + 60
    wanted = {"train", "validation", "extra"}
    while not wanted <= set(ask("runs")) or "values" not in ask("plugin/histograms/tags").get("extra", {}):
        assert time.time() < deadline, f"runs found: {ask('runs')}"
        time.sleep(0.2)
    while len(ask("plugin/scalars/scalars", run="train", tag="epoch_loss")) < 3:
        assert time.time() < deadline
        time.sleep(0.2)

    tags = ask("plugin/scalars/tags")
    assert {"batch_steps_per_second", "epoch_steps_per_second"} <= set(tags["train"])
    for run, of_run in expected["scalars"].items():
        for tag, points in of_run.items():
            found = {str(step): value for _, step, value in ask("plugin/scalars/scalars", run=run, tag=tag)}
            assert found.keys() == points.keys(), (run, tag, found)
            for step, value in points.items():
                assert abs(found[step] - value) <= 1e-6 * max(1, abs(value)), (run, tag, step, found[step], value)

    rows = ask("plugin/histograms/histograms", run="train", tag="out/kernel/histogram")
    assert [row[1] for row in rows] == [0, 1, 2]
    low, high, size = expected["kernel"]
    buckets = rows[-1][2]
    assert abs(buckets[0][0] - low) < 1e-6 and abs(buckets[-1][1] - high) < 1e-6
    assert sum(b[2] for b in buckets) == size
    rows = ask("plugin/histograms/histograms", run="extra", tag="values")
    assert [sum(b[2] for b in row[2]) for row in rows] == [0, 4, 1000]

    images = ask("plugin/images/images", run="extra", tag="picture", sample=0)
    assert [i["step"] for i in images] == [7]
    png = get("plugin/images/individualImage", **dict(urllib.parse.parse_qsl(images[0]["query"])))
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", png[16:24]) == (6, 5)
    assert "out/kernel/image" in ask("plugin/images/tags")["train"]
    (text,) = ask("plugin/text/text", run="extra", tag="note")
    assert "<strong>bold</strong>" in text["text"]

    info = ask("plugin/graphs/info")["train"]
    assert info["run_graph"] and info["tags"]["keras"]["conceptual_graph"], info
    graph = get("plugin/graphs/graph", run="train").decode()
    blocks = {b.split('name: "')[1].split('"')[0]: b for b in graph.split("node {") if 'name: "' in b}
    assert set(expected["nodes"]) <= set(blocks), sorted(blocks)
    for source, target in expected["edges"]:
        assert f'input: "{source}"' in blocks[target], blocks[target]
    concept = get("plugin/graphs/graph", run="train", tag="keras", conceptual="true").decode()
    for name in ("net/numbers", "net/hidden", "net/inner/first", "net/out"):
        assert f'name: "{name}"' in concept, concept

    projector = [run for run in ask("plugin/projector/runs")]
    assert projector == ["."], projector
    (embedding,) = ask("plugin/projector/info", run=".")["embeddings"]
    assert embedding["tensorName"] == "table" and embedding["tensorShape"] == [6, 3], embedding
    data = get("plugin/projector/tensor", run=".", name="table")
    values = struct.unpack(f"<{len(data) // 4}f", data)
    flat = [v for row in expected["table"] for v in row]
    assert len(values) == 18 and all(abs(a - b) < 1e-6 for a, b in zip(values, flat, strict=True))
    assert get("plugin/projector/metadata", run=".", name="table").decode().split()[5] == "word5"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "read"):
        sys.exit(__doc__)
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
