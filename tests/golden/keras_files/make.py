"""Makes the files of this folder with Keras 3.15.1 on jax: KERAS_BACKEND=jax python make.py

`small.keras` holds a trained functional model with its optimizer, `plain.h5` a trained sequential one in the old
format, `lambda.keras` a Lambda layer with code. The archives are compressed after Keras wrote them. `expected.json` has
inputs, outputs, evaluations, the optimizers' variables and the loss of one more epoch.
"""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

folder = Path(__file__).parent
keras.utils.set_random_seed(1)
random = np.random.RandomState(0)
x = random.uniform(-1, 1, (6, 5, 3)).astype("float32")
y = random.uniform(0, 1, (6, 2)).astype("float32")

entry = keras.Input((5, 3), name="sequence")
h = layers.Bidirectional(layers.GRU(2, return_sequences=True))(entry)
h = layers.MultiHeadAttention(1, 2)(h, h)
h = layers.Dropout(0.0)(h)
h = keras.Sequential(
    [layers.Input((5, 4)), layers.Flatten(), layers.Dense(3), layers.BatchNormalization()], name="inner"
)(h)
out = layers.Dense(2, activation="sigmoid", name="out")(h * 2.0)
model = keras.Model(entry, out, name="small")
schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.5)
model.compile(
    keras.optimizers.Adam(schedule), loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1), metrics=["mae"]
)
model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0)
model.save(folder / "small.keras")
expected = {
    "x": x.tolist(),
    "y": y.tolist(),
    "outputs": model.predict(x, verbose=0).tolist(),
    "evaluate": model.evaluate(x, y, verbose=0),
    "optimizer": [np.asarray(v).tolist() for v in model.optimizer.variables],
}
plain = keras.Sequential([layers.Input((5, 3)), layers.LSTM(2), layers.Dense(2, name="out")], name="plain")
plain.compile("rmsprop", "mse", metrics=["mae", keras.metrics.RootMeanSquaredError()])
plain.fit(x, y, batch_size=3, shuffle=False, verbose=0)
plain.save(folder / "plain.h5")
expected["plain"] = {
    "outputs": plain.predict(x, verbose=0).tolist(),
    "evaluate": plain.evaluate(x, y, verbose=0),
    "optimizer": [np.asarray(v).tolist() for v in plain.optimizer.variables],
}
history = model.fit(x, y, batch_size=3, epochs=1, shuffle=False, verbose=0)
expected["next_loss"] = history.history["loss"]
keras.Sequential([layers.Input((2,)), layers.Lambda(lambda z: z + 1)]).save(folder / "lambda.keras")
for path in folder.glob("*.keras"):
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
(folder / "expected.json").write_text(json.dumps(expected))
