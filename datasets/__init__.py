"""Input pipelines with the API of tf.data, on numpy, without TensorFlow and without jax."""
