"""Small classifiers that the oracles train, so that the accuracy of files in integers can be measured."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits

import lamina
from lamina import Input, Sequential, layers

KEYWORDS = ("low", "high", "rising", "falling", "chord", "tremolo", "clicks", "hiss")
"""The sounds that `keywords` tells apart."""
RATE, FRAMES, BANDS = 8000, 49, 10


class Trained(NamedTuple):
    """A trained model, the data it learnt from, and other data with their classes."""

    net: Any
    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def fit(net: Any, x: np.ndarray, y: np.ndarray, split: int, epochs: int) -> Trained:
    """Trains on the first examples; the rest is for the test."""
    net.compile(
        lamina.optimizers.Adam(3e-3),
        lamina.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    net.fit(x[:split], y[:split], batch_size=32, epochs=epochs, verbose=0)
    return Trained(net, x[:split], x[split:], y[split:])


def digits() -> Trained:
    """A convolutional network for the handwritten digits of scikit-learn."""
    data = load_digits()
    x, y = (data.images[..., None] / 16).astype(np.float32), data.target
    order = np.random.default_rng(0).permutation(len(x))
    lamina.utils.set_random_seed(1)
    net = Sequential([
        Input((8, 8, 1), name="image"), layers.Conv2D(16, 3, padding="same"), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10),
    ])  # fmt: skip
    return fit(net, x[order], y[order], 1200, 12)


def sounds(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sounds of half a second under noise, as logarithms of the power in bands, and their classes."""
    t = np.arange(RATE // 2) / RATE
    kinds = rng.integers(0, len(KEYWORDS), count)
    waves = []
    for kind in kinds:
        low, high = rng.uniform(200, 600), rng.uniform(1500, 3000)
        phase = rng.uniform(0, 2 * np.pi)
        sweep = 2 * np.pi * (low * t + (high - low) * t**2)
        wave = {
            "low": np.sin(2 * np.pi * low * t + phase),
            "high": np.sin(2 * np.pi * high * t + phase),
            "rising": np.sin(sweep + phase),
            "falling": np.sin(sweep[::-1] + phase),
            "chord": 0.7 * (np.sin(2 * np.pi * low * t + phase) + np.sin(2 * np.pi * high * t)),
            "tremolo": (1 + np.sin(2 * np.pi * rng.uniform(8, 16) * t)) * np.sin(2 * np.pi * low * t + phase),
            "clicks": 6.0 * (np.arange(len(t)) % int(rng.uniform(400, 900)) < 8),
            "hiss": rng.normal(0, 1, len(t)),
        }[KEYWORDS[kind]]
        waves.append(rng.uniform(0.5, 1) * wave + rng.uniform(0.05, 0.5) * rng.normal(0, 1, len(t)))
    frames = np.lib.stride_tricks.sliding_window_view(np.stack(waves), 160, axis=1)[
        :, :: (len(t) - 160) // (FRAMES - 1)
    ]
    power = np.abs(np.fft.rfft(frames[:, :FRAMES] * np.hanning(160))) ** 2
    edges = np.geomspace(1, power.shape[-1], BANDS + 1).round().astype(int)
    edges = np.maximum(edges, np.arange(1, BANDS + 2))
    bands = np.stack([power[..., a:b].mean(-1) for a, b in zip(edges, edges[1:], strict=False)], -1)
    return np.log(bands + 1e-3).astype(np.float32)[..., None] / 4, kinds


def keywords() -> Trained:
    """The depthwise-separable network for spoken keywords of "Hello Edge", narrow, for synthesised sounds."""
    x, y = sounds(2000, np.random.default_rng(0))
    lamina.utils.set_random_seed(2)
    net = Sequential([Input((FRAMES, BANDS, 1), name="sound")])
    net.add(layers.Conv2D(24, (10, 4), (2, 2), "same", use_bias=False))
    net.add(layers.BatchNormalization(momentum=0.9))
    net.add(layers.ReLU())
    for _ in range(4):
        net.add(layers.DepthwiseConv2D(3, padding="same", use_bias=False))
        net.add(layers.BatchNormalization(momentum=0.9))
        net.add(layers.ReLU())
        net.add(layers.Conv2D(24, 1, use_bias=False))
        net.add(layers.BatchNormalization(momentum=0.9))
        net.add(layers.ReLU())
    net.add(layers.GlobalAveragePooling2D())
    net.add(layers.Dense(len(KEYWORDS)))
    return fit(net, x, y, 1600, 5)


TRAINED = {"digits": digits, "keywords": keywords}
