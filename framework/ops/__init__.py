"""Operations on arrays, one function each: eager on arrays, inlined when traced, recorded on symbols."""

# ruff: noqa: F401, I001
# Kept dense: one paragraph a module. A function may have the name of a module (array, conv) and then wins.
# fmt: off
from lamina.ops.activation import (
    celu, elu, gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_swish, hard_tanh, leaky_relu, log_sigmoid,
    log_softmax, relu, relu6, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign, sparse_plus,
    sparse_sigmoid, sparsemax, squareplus, swish, tanh_shrink, threshold,
)
from lamina.ops.array import (
    append, array_split, broadcast_to, concatenate, dsplit, dstack, expand_dims, flip, fliplr, flipud, hsplit,
    hstack, meshgrid, moveaxis, pad, ravel, rearrange, repeat, reshape, roll, rot90, split, squeeze, stack,
    swapaxes, tile, transpose, unstack, vsplit, vstack,
)
from lamina.ops.complex import (
    angle, conj, conjugate, imag, polar, real, view_as_complex, view_as_real,
)
from lamina.ops.control import (
    associative_scan, cond, custom_gradient, fori_loop, jvp, map, scan, switch, vectorize, vectorized_map,
    while_loop,
)
from lamina.ops.conv import (
    conv, conv_transpose, depthwise_conv, separable_conv,
)
from lamina.ops.convert import (
    array, cast, convert_to_numpy, convert_to_tensor, copy, dtype, is_tensor, ndim, saturate_cast, shape, size,
    stop_gradient, view,
)
from lamina.ops.create import (
    arange, bartlett, blackman, diag, diagflat, empty, empty_like, eye, full, full_like, geomspace, hamming,
    hanning, identity, kaiser, linspace, logspace, ones, ones_like, tri, tril, triu, vander, zeros, zeros_like,
)
from lamina.ops.ctc import (
    ctc_decode, ctc_loss,
)
from lamina.ops.exponential import (
    cbrt, erf, erfc, erfinv, exp, exp2, expm1, i0, log, log10, log1p, log2, logaddexp, logaddexp2, rsqrt, sqrt,
)
from lamina.ops.index import (
    argpartition, argsort, diagonal, digitize, extract_sequences, get_item, in_top_k, nonzero, scatter,
    scatter_update, searchsorted, select, slice, slice_update, sort, take, take_along_axis, top_k, trace,
    unique, unravel_index, where,
)
from lamina.ops.linalg import (
    cholesky, cholesky_inverse, det, eig, eigh, inv, logdet, lstsq, lu_factor, matrix_rank, norm, pinv, qr,
    slogdet, solve, solve_triangular, svd,
)
from lamina.ops.logic import (
    allclose, bitwise_and, bitwise_invert, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift,
    bitwise_xor, equal, greater, greater_equal, isclose, isfinite, isin, isinf, isnan, isneginf, isposinf,
    isreal, left_shift, less, less_equal, logical_and, logical_not, logical_or, logical_xor, not_equal,
    right_shift,
)
from lamina.ops.math import (
    abs, absolute, add, ceil, clip, divide, divide_no_nan, fabs, floor, floor_divide, fmax, fmin, fmod, gcd,
    heaviside, hypot, lcm, ldexp, maximum, minimum, mod, multiply, nan_to_num, negative, nextafter, power,
    reciprocal, round, sign, signbit, square, subtract, true_divide, trunc,
)
from lamina.ops.nn import (
    batch_normalization, binary_crossentropy, categorical_crossentropy, depth_to_space, dot_product_attention,
    layer_normalization, multi_hot, normalize, one_hot, psnr, rms_normalization, space_to_depth,
    sparse_categorical_crossentropy,
)
from lamina.ops.patches import (
    fold, unfold,
)
from lamina.ops.pool import (
    adaptive_average_pool, adaptive_max_pool, average_pool, max_pool,
)
from lamina.ops.product import (
    cdist, corrcoef, correlate, cross, dot, einsum, inner, kron, matmul, outer, tensordot, vdot,
)
from lamina.ops.quantize import (
    fake_quant_with_min_max_vars,
)
from lamina.ops.recurrent import (
    gru, gru_step, lstm, lstm_step, recurrence, simple_rnn, simple_rnn_step,
)
from lamina.ops.reduce import (
    all, amax, amin, any, argmax, argmin, average, bincount, count_nonzero, cumprod, cumsum, diff, histogram,
    logsumexp, max, mean, median, min, moments, nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean,
    nanmedian, nanmin, nanpercentile, nanprod, nanquantile, nanstd, nansum, nanvar, percentile, prod, ptp,
    quantile, std, sum, trapezoid, var,
)
from lamina.ops.segment import (
    segment_max, segment_min, segment_prod, segment_sum,
)
from lamina.ops.signal import (
    fft, fft2, ifft2, irfft, istft, rfft, stft,
)
from lamina.ops.trigonometry import (
    arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, cos, cosh, deg2rad, rad2deg, sin, sinc, sinh,
    tan, tanh,
)
from lamina.ops import image, numpy
