"""The messages of tf.train: Example and SequenceExample, with their features.

Reference: https://www.tensorflow.org/api_docs/python/tf/train/Example
"""

from __future__ import annotations

from lamina.wire.proto import declare

_messages = declare(
    "example",
    """
    message BytesList {
      repeated bytes value = 1;
    }
    message FloatList {
      repeated float value = 1;
    }
    message Int64List {
      repeated int64 value = 1;
    }
    message Feature {
      oneof kind {
        BytesList bytes_list = 1;
        FloatList float_list = 2;
        Int64List int64_list = 3;
      }
    }
    message Features {
      map<string, Feature> feature = 1;
    }
    message FeatureList {
      repeated Feature feature = 1;
    }
    message FeatureLists {
      map<string, FeatureList> feature_list = 1;
    }
    message Example {
      Features features = 1;
    }
    message SequenceExample {
      Features context = 1;
      FeatureLists feature_lists = 2;
    }
    """,
)

BytesList = _messages["BytesList"]
FloatList = _messages["FloatList"]
Int64List = _messages["Int64List"]
Feature = _messages["Feature"]
Features = _messages["Features"]
FeatureList = _messages["FeatureList"]
FeatureLists = _messages["FeatureLists"]
Example = _messages["Example"]
SequenceExample = _messages["SequenceExample"]
