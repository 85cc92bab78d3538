"""TensorFlow's side of `tensorflow_checkpoints.py`: reads the checkpoints of one folder, writes some into another."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import exchange
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def restore(prefix: Path, names: list[str], slices: list[str], dtypes: list[tf.DType]) -> list[np.ndarray]:
    """Tensors by the op that a Saver uses."""
    return [t.numpy() for t in tf.raw_ops.RestoreV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=slices, dtypes=dtypes
    )]  # fmt: skip


def tf_dtype(value: np.ndarray) -> tf.DType:
    return tf.string if value.dtype == object else tf.as_dtype(value.dtype)


def read(folder: Path) -> list[str]:
    """What TensorFlow reads otherwise than lamina wrote."""
    wrong = []
    for prefix, values in exchange.stored(folder):
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        shapes.pop("checkpoint/files", None)
        listed = {name: shape for name, shape in tf.train.list_variables(str(prefix)) if name != "checkpoint/files"}
        if listed != {name: list(value.shape) for name, value in values.items()} or shapes != listed:
            wrong.append(f"{prefix.name}: other names or shapes")
        if {name: dtypes[name] for name in values} != {name: tf_dtype(value) for name, value in values.items()}:
            wrong.append(f"{prefix.name}: other dtypes")
        names = list(values)
        restored = restore(prefix, names, [""] * len(names), [tf_dtype(values[name]) for name in names])
        for name, got in zip(names, restored, strict=True):
            wrong += exchange.differences(f"{prefix.name}: {name}", exchange.as_array(got), values[name])
        for name in names[:200]:
            try:
                got = reader.get_tensor(name)
            except (TypeError, tf.errors.UnimplementedError):  # small floats and integers: by the op above only
                continue
            wrong += exchange.differences(f"{prefix.name}: get_tensor {name}", exchange.as_array(got), values[name])
        print(f"TensorFlow read {prefix.name}: {len(names)} tensors", flush=True)
    table = dict(exchange.stored(folder))[folder / "parts"]["table"]
    (rows,) = restore(folder / "parts", ["table"], ["10 4 2,5:1,2"], [tf.float32])
    wrong += exchange.differences("parts: rows of two parts", rows, table[2:7, 1:3])
    return wrong + import_meta_graph(folder)


def import_meta_graph(folder: Path) -> list[str]:
    """The graph of a `.meta` file: restored, run, saved again."""
    wrong = []
    latest = tf.train.latest_checkpoint(str(folder))
    if latest != str(folder / "graph-12"):
        return [f"latest_checkpoint: {latest}"]
    values = dict(exchange.stored(folder))[Path(latest)]
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.import_meta_graph(f"{latest}.meta")
        variables = {v.op.name: v for v in v1.global_variables()}
        if set(variables) != set(values):
            wrong.append(f"import_meta_graph: variables {sorted(variables)}")
        saver.restore(session, latest)
        for name, variable in variables.items():
            wrong += exchange.differences(
                f"import_meta_graph: {name}", exchange.as_array(session.run(variable)), values[name]
            )
        learn = sorted(v.op.name for v in v1.trainable_variables())
        if learn != ["dense/bias", "dense/kernel", "moments/half"]:
            wrong.append(f"import_meta_graph: trainable variables {learn}")
        again = saver.save(session, str(folder / "again"), write_state=False)
        for name, value in values.items():
            got = exchange.as_array(tf.train.load_variable(again, name))
            wrong += exchange.differences(f"saved again: {name}", got, value)
    print("TensorFlow imported the graph, restored and saved it", flush=True)
    return wrong


def write(folder: Path, ours: Path) -> None:
    """Checkpoints of TensorFlow for lamina to read."""
    rng = np.random.default_rng(3)
    values = dict(exchange.stored(ours))[ours / "dtypes"]

    shards, third = [], -(-len(values) // 3)
    for i in range(3):
        part = dict(list(values.items())[i * third : (i + 1) * third])
        name = tf.raw_ops.ShardedFilename(basename=str(folder / "ops_temp"), shard=i, num_shards=3)
        tensors = [tf.constant(v.tolist() if v.dtype == object else v, tf_dtype(v), v.shape) for v in part.values()]
        tf.raw_ops.SaveV2(prefix=name, tensor_names=list(part), shape_and_slices=[""] * len(part), tensors=tensors)
        shards.append(name)
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=tf.stack(shards), destination_prefix=str(folder / "ops"), delete_old_dirs=False
    )
    exchange.store(folder / "ops", values)

    with tf.Graph().as_default():
        variables = {}
        for i, (name, axis, parts) in enumerate((("rows", 0, 7), ("columns", 1, 3), ("both", 0, 2))):
            with tf.device(f"/cpu:{i}"):
                partitioner = v1.fixed_size_partitioner(parts, axis)
                variables[name] = v1.get_variable(name, (20, 6), partitioner=partitioner, use_resource=i > 0)
        with tf.device("/cpu:1"):
            variables["plain"] = v1.get_variable("plain", initializer=tf.constant([4, 2]))
        tensors = {name: tf.convert_to_tensor(variable) for name, variable in variables.items()}
        saver = v1.train.Saver(sharded=True)
        with v1.Session(config=v1.ConfigProto(device_count={"CPU": 3})) as session:
            session.run(v1.global_variables_initializer())
            prefix = saver.save(session, str(folder / "saver"), write_state=False)
            arrays = session.run(tensors)
    exchange.store(Path(prefix), arrays)

    dataset = tf.data.Dataset.range(100).shuffle(10, seed=1).batch(2)
    iterator = iter(dataset)
    next(iterator)
    kernel = tf.Variable(rng.random((8, 3), np.float32))
    words = tf.Variable([b"one", b"", b"three" * 100])
    step = tf.Variable(5, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(kernel=kernel, words=words, step=step, iterator=iterator)
    prefix = Path(checkpoint.write(str(folder / "object")))
    found = {}
    for name, _ in tf.train.list_variables(str(prefix)):
        if name == "_CHECKPOINTABLE_OBJECT_GRAPH":
            continue
        dtype = tf.train.load_checkpoint(str(prefix)).get_variable_to_dtype_map()[name]
        (tensor,) = tf.raw_ops.RestoreV2(prefix=str(prefix), tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
        # the bytes of a variant are TensorFlow's own affair: their checksums are what can be compared
        found[name] = np.full(tensor.shape, None) if dtype == tf.variant else exchange.as_array(tensor.numpy())
    exchange.store(prefix, found)

    many = {f"block_{i:04d}/{'w' * 150}": np.full(i % 4, i, np.int32) for i in range(4000)}
    tf.raw_ops.SaveV2(
        prefix=str(folder / "many"),
        tensor_names=list(many),
        shape_and_slices=[""] * len(many),
        tensors=[tf.constant(v) for v in many.values()],
    )
    exchange.store(folder / "many", many)
    print("TensorFlow wrote its checkpoints", flush=True)


if __name__ == "__main__":
    wrong = read(Path(sys.argv[1]))
    for line in wrong:
        print("WRONG", line, flush=True)
    write(Path(sys.argv[2]), Path(sys.argv[1]))
    sys.exit(1 if wrong else 0)
