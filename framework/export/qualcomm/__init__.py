"""Models for Snapdragon: .dlc files by the vendor's provider for ONNX Runtime, and kits for the vendor's own tools."""
