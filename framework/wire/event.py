"""The messages of TensorBoard's event files, which are record files of `Event`s.

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
        SummaryImage image = 4;
        HistogramProto histo = 5;
        SummaryAudio audio = 6;
        TensorProto tensor = 8;
      }
    }
    message SummaryImage {
      int32 height = 1;
      int32 width = 2;
      int32 colorspace = 3;
      bytes encoded_image_string = 4;
    }
    message SummaryAudio {
      float sample_rate = 1;
      int64 num_channels = 2;
      int64 length_frames = 3;
      bytes encoded_audio_string = 4;
      string content_type = 5;
    }
    message HistogramProto {
      double min = 1;
      double max = 2;
      double num = 3;
      double sum = 4;
      double sum_squares = 5;
      repeated double bucket_limit = 6;
      repeated double bucket = 7;
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
    """,
    imports=[TensorProto],
)

Event = _messages["Event"]
Summary = _messages["Summary"]
SummaryValue = _messages["SummaryValue"]
SummaryImage = _messages["SummaryImage"]
SummaryAudio = _messages["SummaryAudio"]
HistogramProto = _messages["HistogramProto"]
PluginData = _messages["PluginData"]
SummaryMetadata = _messages["SummaryMetadata"]
