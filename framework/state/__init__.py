"""Variables, the frame that replaces their values while tracing, and randomness."""
