"""The feed-forward sublayer against loops, and the kink of its ReLU."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.feed_forward import feed_forward, feed_forward_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def test_it_is_the_loop():
    X, W_1, b_1, W_2, b_2 = (RNG.normal(size=shape) for shape in ((2, 3, 4), (4, 6), (6,), (6, 5), (5,)))
    Y, _ = feed_forward(X, W_1, b_1, W_2, b_2)
    for i in range(2):
        U = reference.linear(X[i], W_1, b_1)
        R = np.array([[max(0.0, u) for u in row] for row in U])
        np.testing.assert_allclose(Y[i], reference.linear(R, W_2, b_2), rtol=1e-12, atol=1e-13)


def test_at_the_kink_the_gradient_is_zero():
    one = np.ones((1, 1))
    _, cache = feed_forward(np.zeros((1, 1)), one, np.zeros(1), one, np.zeros(1))
    assert feed_forward_backward(one, cache).d_X == 0


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match=r"axis 1 of W_1 \(6\) must equal axis 0 of W_2 \(7\)"):
        feed_forward(np.ones((3, 4)), np.ones((4, 6)), np.ones(6), np.ones((7, 5)), np.ones(5))
    with pytest.raises(ShapeError, match=r"W_1 has shape \(4,\), expected 2 axes"):
        feed_forward(np.ones((3, 4)), np.ones(4), np.ones(6), np.ones((6, 5)), np.ones(5))
    with pytest.raises(ShapeError, match=r"W_2 has shape \(6,\), expected 2 axes"):
        feed_forward(np.ones((3, 4)), np.ones((4, 6)), np.ones(6), np.ones(6), np.ones(5))
