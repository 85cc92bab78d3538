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
from lamina.layers.multi_head_attention import MultiHeadAttention
from lamina.layers.group_query_attention import GroupQueryAttention
from lamina.layers.conv_transpose import (
    Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, Convolution1DTranspose, Convolution2DTranspose,
    Convolution3DTranspose,
)
from lamina.layers.depthwise_conv import (
    DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D, SeparableConvolution1D,
    SeparableConvolution2D,
)
from lamina.layers.global_pooling import (
    AdaptiveAveragePooling1D, AdaptiveAveragePooling2D, AdaptiveAveragePooling3D, AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D, AdaptiveMaxPooling3D, GlobalAveragePooling1D, GlobalAveragePooling2D,
    GlobalAveragePooling3D, GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D, GlobalMaxPool1D, GlobalMaxPool2D,
    GlobalMaxPool3D, GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D,
)
from lamina.layers.identity import Identity, Lambda, Masking
from lamina.layers.padding import (
    Cropping1D, Cropping2D, Cropping3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D,
)
from lamina.layers.scaling import Normalization, Rescaling
from lamina.layers.spectral_normalization import SpectralNormalization
from lamina.layers.upsampling import UpSampling1D, UpSampling2D, UpSampling3D
from lamina.layers.wrapper import TimeDistributed, Wrapper
from lamina.layers.attention import AdditiveAttention, Attention
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from lamina.layers.category_encoding import CategoryEncoding, Discretization
from lamina.layers.hashing import HashedCrossing, Hashing
from lamina.layers.integer_lookup import IntegerLookup
from lamina.layers.string_lookup import StringLookup
from lamina.layers.text_vectorization import TextVectorization
from lamina.layers.image_size import CenterCrop, RandomCrop, Resizing
from lamina.layers.image_geometry import (
    RandomElasticTransform, RandomFlip, RandomPerspective, RandomRotation, RandomShear, RandomTranslation,
    RandomZoom,
)
from lamina.layers.image_color import (
    RandomBrightness, RandomColorDegeneration, RandomColorJitter, RandomContrast, RandomGrayscale, RandomHue,
    RandomInvert, RandomPosterization, RandomSaturation, Solarization,
)
from lamina.layers.image_filter import (
    AutoContrast, ContrastLimitedAdaptiveHistogramEqualization, Equalization, RandomErasing, RandomGaussianBlur,
    RandomSharpness,
)
from lamina.layers.image_mixing import AugMix, CutMix, MixUp, RandAugment
from lamina.layers.pipeline import MaxNumBoundingBoxes, Pipeline
from lamina.layers.spectrogram import MelSpectrogram, STFTSpectrogram
from lamina.layers.serialization import deserialize, serialize
