"""Layer normalisation against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.layer_norm import layer_norm
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_it_is_the_loop(eps):
    X, gain, bias = 3 + 2 * RNG.normal(size=(2, 3, 5)), RNG.normal(size=5), RNG.normal(size=5)
    Y, _ = layer_norm(X, gain, bias, eps)
    expected = [[reference.layer_norm(x, gain, bias, eps) for x in rows] for rows in X]
    np.testing.assert_allclose(Y, expected, rtol=1e-12)


def test_mean_and_deviation():
    Y, _ = layer_norm(100 + 30 * RNG.normal(size=(4, 64)), np.full(64, 2.0), np.full(64, 7.0))
    np.testing.assert_allclose(Y.mean(axis=-1), 7, rtol=1e-12)
    np.testing.assert_allclose(Y.std(axis=-1), 2, rtol=1e-6)


def test_a_row_of_equal_values_gives_the_bias():
    bias = RNG.normal(size=5)
    np.testing.assert_allclose(layer_norm(np.full((1, 5), 3.0), np.ones(5), bias)[0], bias[None])


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match=r"gain has shape \(4,\), expected \(5,\); one gain a feature"):
        layer_norm(np.ones((3, 5)), np.ones(4), np.ones(5))
    with pytest.raises(ShapeError, match=r"bias has shape \(5, 1\), expected \(5,\); one bias a feature"):
        layer_norm(np.ones((3, 5)), np.ones(5), np.ones((5, 1)))
