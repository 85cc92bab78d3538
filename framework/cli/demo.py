"""`lamina demo`: trains a small convolutional network on 1,797 handwritten digits that come with the package.

It then writes a checkpoint, a SavedModel and a TFLite file of int8, and runs the two files on the held-out digits. An
interrupted run goes on where it was. Exit codes: 0, 130 if it was interrupted, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from lamina import datasets, layers, losses, optimizers
from lamina.callbacks.backup_and_restore import BackupAndRestore
from lamina.cli.output import print_json
from lamina.core.checks import check_int
from lamina.export.load import load_frozen
from lamina.models.sequential import Sequential
from lamina.state.rng import set_random_seed

EXAMPLE = "lamina demo --epochs 5 --folder digits"
NEXT_STEPS = """\
What to try next
  * A page that shows the model: lamina view {folder}/digits.tflite; all commands: lamina --help
  * The same in a notebook: tutorials/01_quickstart.ipynb
  * Training that survives a crash: model.fit(x, y, resume="run"), tutorials/03_checkpoints.ipynb
  * Your own data: model.fit(x, y) takes numpy, pandas, torch and jax arrays, generators and Datasets
  * Your own optimizer: model.compile(optax.lion(1e-4), loss="mse")
  * Your own loop: outputs, state = model.apply(model.params, model.state, x) is pure JAX"""


def build_model() -> Sequential:
    """A convolutional network for 8x8 images in 10 classes.

    Example:
        >>> build_model().output_shape
        (None, 10)
    """
    return Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.1),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.2),
            layers.Dense(10),
        ],
        name="digits",
    )


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training data (default 20)")
    parser.add_argument("--folder", default="lamina_demo", help="where results go (default lamina_demo)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and augmentation (default 0)")


def run(options: Any) -> int:
    """Runs the command; returns the exit code."""
    check_int("lamina demo", "--epochs", options.epochs, 1)
    if not options.json:
        code, _ = run_demo(options.epochs, options.folder, options.seed)
        return code
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code, results = run_demo(options.epochs, options.folder, options.seed)
    print_json(results)
    return code


def run_demo(epochs: int, folder: str, seed: int) -> tuple[int, dict[str, Any]]:
    """Trains, evaluates, saves, exports, draws; returns the exit code and the figures."""
    started = time.perf_counter()
    set_random_seed(seed)
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    x, x_test = (images[..., None].astype("float32") / 16 for images in (x, x_test))
    print(f"Handwritten digits (UCI): {len(x)} images of 8x8 to train on, {len(x_test)} held out\n")
    model = build_model()
    model.compile(
        optimizer=optimizers.Adam(optimizers.schedules.CosineDecay(4e-3, epochs * -(-len(x) // 32))),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.summary()
    target = Path(folder)
    backup = BackupAndRestore(target / "run")
    if backup.manager.latest is not None:
        print(f"Going on from {backup.manager.latest}, where an earlier run was interrupted")
    try:
        history = model.fit(x, y, batch_size=32, epochs=epochs, validation_data=(x_test, y_test), callbacks=[backup])
    except KeyboardInterrupt:
        print(f"\nInterrupted. The run is saved in {target / 'run'}: lamina demo goes on from there.")
        return 130, {"interrupted": True, "folder": folder}
    result = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"\nAccuracy on held-out digits: {result['accuracy']:.1%} (loss {result['loss']:.3f})")
    target.mkdir(parents=True, exist_ok=True)
    model.save_weights(target / "digits")
    print(f"Checkpoint: {target / 'digits'}.index (TensorFlow's format; lamina inspect {target / 'digits'} lists it)")
    files = export_model(model, x, x_test, y_test, target)
    for name, known in files.items():
        print(f"{name}: {known['path']}, {known['bytes']:,} bytes, accuracy {known['accuracy']:.1%}")
    picture = draw_curves(history.history, target / "learning_curve.png")
    if picture is not None:
        print(f"Learning curve: {picture}")
    seconds = time.perf_counter() - started
    print(f"Done in {seconds:.0f} s, compilation included\n")
    print(NEXT_STEPS.format(folder=folder))
    return 0, {"accuracy": result["accuracy"], "loss": result["loss"], "files": files, "seconds": seconds}


def export_model(model: Sequential, x: Any, x_test: Any, y_test: Any, target: Path) -> dict[str, dict[str, Any]]:
    """Writes a SavedModel and a TFLite file of int8, and runs both on the held-out digits."""
    reports = {
        "SavedModel": model.export(target / "saved_model"),
        "TFLite int8": model.export(
            target / "digits.tflite", format="tflite", precision="int8", representative_data=x[:256]
        ),
    }
    found = {}
    for name, report in reports.items():
        logits = load_frozen(report.path)(x_test)
        accuracy = float(np.mean(np.argmax(logits, -1) == y_test))
        found[name] = {"path": report.path, "bytes": report.bytes, "accuracy": accuracy}
    return found


def draw_curves(history: dict[str, list[Any]], path: Path) -> Path | None:
    """Draws loss and accuracy by epoch; None where matplotlib is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("Learning curve: not drawn, matplotlib is not installed (pip install 'lamina[plot]')")
        return None
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[name]) + 1)
        axes.plot(epochs, history[name], label="training")
        axes.plot(epochs, history[f"val_{name}"], label="held out")
        axes.set(xlabel="epoch", title=name)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
    return path
