"""ONNX files: written from graphs, and read back."""
