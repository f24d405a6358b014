"""The fast layer norm is the plain one, gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations import layer_norm as plain
from attnretrieval.fast.layer_norm import layer_norm, layer_norm_backward
from attnretrieval.shapes import ShapeError
from tests.fast.forms import same


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_the_plain_layer_norm(dtype):
    rng = np.random.default_rng(0)
    for _ in range(30):
        X = rng.normal(rng.normal(), 2.0, rng.integers(1, 6, rng.integers(1, 4)) + 1).astype(dtype)
        gain, bias = rng.normal(size=(2, X.shape[-1])).astype(dtype)
        same((layer_norm, layer_norm_backward), (plain.layer_norm, plain.layer_norm_backward), rng, X, gain, bias)


def test_wrong_shapes_are_refused():
    with pytest.raises(ShapeError, match="gain"):
        layer_norm(np.ones((2, 3)), np.ones(4), np.ones(3))
