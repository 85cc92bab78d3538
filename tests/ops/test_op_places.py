"""Ops stand where scripts for Keras look for them."""

import numpy as np
import pytest

from lamina import ops
from lamina.ops.numpy import add


def test_ops_have_keras_places():
    assert ops.numpy.add is ops.add is add and ops.numpy.einsum is ops.einsum
    assert ops.nn.relu is ops.relu and ops.nn.conv is ops.conv and ops.nn.max_pool is ops.max_pool
    np.testing.assert_array_equal(ops.nn.relu(np.float32([-1, 2])), [0, 2])
    assert callable(ops.image.resize) and callable(ops.linalg.det) and callable(ops.nn.moments)


@pytest.mark.parametrize("place", [ops.numpy, ops.nn])
def test_unknown_names_are_told(place):
    with pytest.raises(AttributeError, match="has no attribute 'einsam'"):
        place.einsam  # noqa: B018
