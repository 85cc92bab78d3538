"""TFLite: models as FlatBuffers that LiteRT and TFLite Micro run."""
