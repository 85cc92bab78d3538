"""The messages of TensorBoard's event files, which are record files of `Event`s, and of its projector's settings.

Reference: https://www.tensorflow.org/tensorboard
"""

from __future__ import annotations

from lamina.wire.proto import declare
from lamina.wire.tensor import TensorProto

_messages = declare(
    "event",
    """
    message Event {
      double wall_time = 1;
      int64 step = 2;
      oneof what {
        string file_version = 3;
        bytes graph_def = 4;
        Summary summary = 5;
        bytes meta_graph_def = 9;
      }
    }
    message Summary {
      repeated SummaryValue value = 1;
    }
    message SummaryValue {
      string tag = 1;
      string node_name = 7;
      SummaryMetadata metadata = 9;
      oneof value {
        float simple_value = 2;
        TensorProto tensor = 8;
      }
    }
    message PluginData {
      string plugin_name = 1;
      bytes content = 2;
    }
    message SummaryMetadata {
      PluginData plugin_data = 1;
      string display_name = 2;
      string summary_description = 3;
      int32 data_class = 4;
    }
    message ProjectorConfig {
      repeated EmbeddingInfo embeddings = 2;
    }
    message EmbeddingInfo {
      string tensor_name = 1;
      string metadata_path = 2;
      repeated uint32 tensor_shape = 4;
      string tensor_path = 6;
    }
    """,
    imports=[TensorProto],
)

Event = _messages["Event"]
Summary = _messages["Summary"]
SummaryValue = _messages["SummaryValue"]
PluginData = _messages["PluginData"]
SummaryMetadata = _messages["SummaryMetadata"]
ProjectorConfig = _messages["ProjectorConfig"]
EmbeddingInfo = _messages["EmbeddingInfo"]
