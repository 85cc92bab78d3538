"""A training run for the tests of resuming: shuffle, augmentation, dropout, Adam, means of weights, early stopping,
and a checkpoint every few steps, written beside the training.

    python training_script.py FOLDER [SECONDS_PER_BATCH]

Writes `FOLDER/result.json` at the end: digests of the final weights, the history, and the order of the data.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time

import numpy as np


def train(folder: str, pause: float = 0.0, checkpoints: bool = True) -> dict:
    """Trains, going on from the checkpoints in `folder`, and returns what the run came to."""
    from lamina import Input, Model, callbacks, layers, optimizers
    from lamina.datasets import Dataset

    rng = np.random.default_rng(5)
    x = rng.normal(size=(90, 8, 8, 1)).astype("float32")
    y = (x.mean((1, 2, 3)) > 0).astype("int32")
    numbers = np.arange(len(x), dtype="float32")

    class Order(callbacks.Callback):
        """Keeps the sum of the sample numbers of each batch, which tells the order of the data."""

        needs_live_state = False

        def on_train_begin(self, logs=None):
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(logs["order"])
            if pause:
                time.sleep(pause)

        def get_state(self):
            return {"seen": self.seen}

        def set_state(self, state):
            self.seen = list(state["seen"])

    image, number = Input((8, 8, 1), name="image"), Input((), name="number")
    h = layers.RandomFlip("horizontal")(image)
    h = layers.RandomTranslation(0.2, 0.2)(h)
    h = layers.Conv2D(4, 3, activation="relu")(h)
    h = layers.BatchNormalization()(h)
    h = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(h))
    outputs = layers.Dense(2, activation="softmax")(h)

    class Net(Model):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            weights = np.arange(1, 1 + x["number"].shape[0], dtype="float32")
            return {**logs, "order": (x["number"] * weights).sum()}

    model = Net({"image": image, "number": number}, outputs)
    model.compile(
        optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    data = Dataset.from_tensor_slices(({"image": x, "number": numbers}, y)).shuffle(40).batch(16)
    order = Order()
    used = [
        order,
        callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.02),
        callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        callbacks.SwapEMAWeights(),
    ]
    if checkpoints:
        used.append(callbacks.BackupAndRestore(os.path.join(folder, "run"), save_freq=2, delete_checkpoint=False))
    held_out = ({"image": x[:20], "number": numbers[:20]}, y[:20])
    history = model.fit(data, validation_data=held_out, epochs=8, verbose=0, callbacks=used)
    digest = hashlib.sha256()
    for v in model.weights:
        digest.update(v.path.encode() + v.numpy().tobytes())
    return {"weights": digest.hexdigest(), "history": history.history, "epoch": history.epoch, "order": order.seen}


def main(folder: str, pause: float = 0.0) -> None:
    """Trains and writes the result, whole or not at all."""
    from lamina.utils import set_random_seed

    set_random_seed(3)
    result = train(folder, pause)
    work = os.path.join(folder, f"result.tmp{os.getpid()}")
    with open(work, "w") as file:
        json.dump(result, file)
    os.replace(work, os.path.join(folder, "result.json"))


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
