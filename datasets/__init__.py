"""Input pipelines with the API of tf.data, on numpy, without TensorFlow and without jax."""

from lamina.datasets.builtin import breast_cancer, diabetes, digits, iris, wine

__all__ = ["breast_cancer", "diabetes", "digits", "iris", "wine"]
