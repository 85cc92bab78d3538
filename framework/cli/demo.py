"""`lamina demo`: a real model, trained before your eyes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lamina import datasets, layers, losses, optimizers
from lamina.callbacks.backup_and_restore import BackupAndRestore
from lamina.models.sequential import Sequential
from lamina.state.rng import set_random_seed

NEXT_STEPS = """\
What to try next
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


def run_demo(epochs: int, folder: str, seed: int) -> int:
    """Trains, evaluates, saves, draws; returns the exit code."""
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
        return 130
    result = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"\nAccuracy on held-out digits: {result['accuracy']:.1%} (loss {result['loss']:.3f})")
    target.mkdir(parents=True, exist_ok=True)
    model.save_weights(target / "digits")
    print(f"Checkpoint: {target / 'digits'}.index (TensorFlow's format; lamina inspect {target / 'digits'} lists it)")
    picture = draw_curves(history.history, target / "learning_curve.png")
    if picture is not None:
        print(f"Learning curve: {picture}")
    print(f"Done in {time.perf_counter() - started:.0f} s, compilation included\n")
    print(NEXT_STEPS)
    return 0


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
