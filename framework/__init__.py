"""lamina: a Keras-like training framework on JAX."""
