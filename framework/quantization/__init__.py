"""Training with the rounding of int8 in mind."""

from lamina.quantization.quantize_aware import QuantizeAware, quantize_aware

__all__ = ["QuantizeAware", "quantize_aware"]
