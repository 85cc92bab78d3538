"""Messages of the tensor bundle: index entries, the list of checkpoints in a folder, and the saver's description."""

from __future__ import annotations

from lamina.wire.proto import declare
from lamina.wire.tensor import TensorShapeProto

_messages = declare(
    "bundle",
    """
    message BundleHeaderProto {
      int32 num_shards = 1;
      int32 endianness = 2;
      VersionDef version = 3;
    }
    message BundleEntryProto {
      int32 dtype = 1;
      TensorShapeProto shape = 2;
      int32 shard_id = 3;
      int64 offset = 4;
      int64 size = 5;
      fixed32 crc32c = 6;
      repeated TensorSliceProto slices = 7;
    }
    message CheckpointState {
      string model_checkpoint_path = 1;
      repeated string all_model_checkpoint_paths = 2;
      repeated double all_model_checkpoint_timestamps = 3;
      double last_preserved_timestamp = 4;
    }
    message SaverDef {
      string filename_tensor_name = 1;
      string save_tensor_name = 2;
      string restore_op_name = 3;
      int32 max_to_keep = 4;
      bool sharded = 5;
      float keep_checkpoint_every_n_hours = 6;
      int32 version = 7;
    }
    """,
    imports=[TensorShapeProto],
)

BundleHeaderProto = _messages["BundleHeaderProto"]
BundleEntryProto = _messages["BundleEntryProto"]
CheckpointState = _messages["CheckpointState"]
SaverDef = _messages["SaverDef"]
