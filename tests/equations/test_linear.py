"""The linear layer against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.linear import linear
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def test_it_is_the_loop():
    X, W, b = RNG.normal(size=(2, 3, 5)), RNG.normal(size=(5, 4)), RNG.normal(size=4)
    Y, _ = linear(X, W, b)
    without, _ = linear(X, W)
    for i in range(2):
        np.testing.assert_allclose(Y[i], reference.linear(X[i], W, b), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(without[i], reference.linear(X[i], W), rtol=1e-12, atol=1e-14)


def test_one_vector_and_no_vector():
    W = RNG.normal(size=(5, 4))
    assert linear(RNG.normal(size=5), W)[0].shape == (4,)
    assert linear(np.zeros((2, 0, 5)), W)[0].shape == (2, 0, 4)


def test_wrong_shapes_are_explained():
    X, W = np.ones((2, 3)), np.ones((4, 5))
    with pytest.raises(ShapeError, match=r"axis -1 of X \(3\) must equal axis 0 of W \(4\); W is \(d_in, d_out\)"):
        linear(X, W)
    with pytest.raises(ShapeError, match=r"b has shape \(4,\), expected \(5,\); one bias an output"):
        linear(np.ones((2, 4)), W, np.ones(4))
    with pytest.raises(ShapeError, match=r"W has shape \(4,\), expected 2 axes"):
        linear(X, np.ones(4))
