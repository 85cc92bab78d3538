"""Layers."""

# ruff: noqa: F401, I001
# Kept dense: one paragraph a module.
# fmt: off
from lamina.layers.layer import Layer
from lamina.layers.input_layer import Input, InputLayer
from lamina.layers.input_spec import InputSpec
from lamina.layers.dense import Dense, EinsumDense
from lamina.layers.activation import Activation, ELU, LeakyReLU, PReLU, ReLU, Softmax
from lamina.layers.conv import (
    Conv1D, Conv2D, Conv3D, Convolution1D, Convolution2D, Convolution3D,
)
from lamina.layers.pooling import (
    AveragePooling1D, AveragePooling2D, AveragePooling3D, AvgPool1D, AvgPool2D, AvgPool3D,
    MaxPool1D, MaxPool2D, MaxPool3D, MaxPooling1D, MaxPooling2D, MaxPooling3D,
)
from lamina.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from lamina.layers.batch_normalization import BatchNormalization
from lamina.layers.normalization import (
    GroupNormalization, LayerNormalization, RMSNormalization, UnitNormalization,
)
from lamina.layers.embedding import Embedding, ReversibleEmbedding
from lamina.layers.regularization import (
    ActivityRegularization, AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D,
    SpatialDropout2D, SpatialDropout3D,
)
from lamina.layers.merging import (
    Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract,
    add, average, concatenate, dot, maximum, minimum, multiply, subtract,
)
from lamina.layers.recurrent_cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.stacked_cells import StackedRNNCells
from lamina.layers.rnn import RNN
from lamina.layers.recurrent import GRU, LSTM, SimpleRNN
