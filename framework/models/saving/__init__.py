"""Model files: Keras' archives, weights in HDF5 and safetensors, and the HDF5 models of Keras 2."""
