"""Checkpoints in TensorFlow's own format, the tensor bundle (V2): read and written without TensorFlow."""

from lamina.checkpoint.manager import Checkpoint, CheckpointError, CheckpointManager
from lamina.checkpoint.meta import meta_graph_bytes
from lamina.checkpoint.reader import CheckpointReader, load_checkpoint
from lamina.checkpoint.state import latest_checkpoint, read_checkpoint_state, write_checkpoint_state
from lamina.checkpoint.variables import list_variables, load_variable, verify_checkpoint
from lamina.checkpoint.writer import Partition, merge_entries, write_checkpoint, write_index, write_shard

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointManager",
    "CheckpointReader",
    "Partition",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "merge_entries",
    "meta_graph_bytes",
    "read_checkpoint_state",
    "verify_checkpoint",
    "write_checkpoint",
    "write_checkpoint_state",
    "write_index",
    "write_shard",
]
