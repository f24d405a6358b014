"""Scaled dot-product attention against a loop; padding; broadcasting over pairs."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, True, False], [False, False, False, False, True], [False] * 5])


def draw(*shape):
    return RNG.normal(size=shape)


def test_it_is_the_loop():
    Q, K, V = draw(3, 3, 4), draw(3, 5, 4), draw(3, 5, 2)
    Y, cache = attention(Q, K, V, MASK)
    for i in range(3):
        expected, weights = reference.attention(Q[i], K[i], V[i], MASK[i])
        np.testing.assert_allclose(Y[i], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(cache.A[i], weights, rtol=1e-12)
    plain, _ = attention(Q[0], K[0], V[0])
    np.testing.assert_allclose(plain, reference.attention(Q[0], K[0], V[0])[0], rtol=1e-12)


def test_leading_axes_broadcast_to_every_pair():
    Q, K, V = draw(2, 1, 3, 4), draw(3, 5, 4), draw(3, 5, 2)
    Y, _ = attention(Q, K, V, MASK)
    assert Y.shape == (2, 3, 3, 2)
    for t in range(2):
        for v in range(3):
            np.testing.assert_allclose(Y[t, v], reference.attention(Q[t, 0], K[v], V[v], MASK[v])[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("padding", [1e9, -1e9])
def test_padding_changes_no_output_and_no_gradient(padding):
    Q, K, V, d_Y = draw(3, 3, 4), draw(3, 5, 4), draw(3, 5, 2), draw(3, 3, 2)
    real = MASK[..., None]
    Y, cache = attention(Q, np.where(real, K, 0), np.where(real, V, 0), MASK)
    Y_padded, cache_padded = attention(Q, np.where(real, K, padding), np.where(real, V, padding), MASK)
    np.testing.assert_allclose(Y_padded, Y, rtol=1e-14)
    for d, d_padded in zip(attention_backward(d_Y, cache), attention_backward(d_Y, cache_padded), strict=True):
        np.testing.assert_allclose(d_padded, d, rtol=1e-13, atol=1e-15)
    assert np.all(attention_backward(d_Y, cache_padded).d_K[~MASK] == 0)
    assert np.all(attention_backward(d_Y, cache_padded).d_V[~MASK] == 0)


def test_a_longer_padding_changes_nothing():
    Q, K, V = draw(3, 4), draw(5, 4), draw(5, 2)
    K_long, V_long = (np.concatenate([X, 100 * draw(3, X.shape[1])]) for X in (K, V))
    np.testing.assert_allclose(attention(Q, K_long, V_long, np.arange(8) < 5)[0], attention(Q, K, V)[0], rtol=1e-14)


def test_no_key_gives_output_zero():
    Y, cache = attention(draw(3, 3, 4), draw(3, 5, 4), draw(3, 5, 2), MASK)
    assert np.all(Y[2] == 0) and np.all(cache.A[2] == 0)
    assert np.all(attention(draw(3, 4), np.zeros((0, 4)), np.zeros((0, 2)))[0] == np.zeros((3, 2)))


def test_the_order_of_the_keys_does_not_matter():
    Q, K, V = draw(3, 4), draw(5, 4), draw(5, 2)
    order = RNG.permutation(5)
    np.testing.assert_allclose(attention(Q, K[order], V[order])[0], attention(Q, K, V)[0], rtol=1e-13)


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match=r"axis -1 of Q \(4\) must equal axis -1 of K \(3\); queries and keys share d_k"):
        attention(np.ones((2, 4)), np.ones((5, 3)), np.ones((5, 2)))
    with pytest.raises(ShapeError, match=r"axis -2 of K \(5\) must equal axis -2 of V \(6\); one value a key"):
        attention(np.ones((2, 4)), np.ones((5, 4)), np.ones((6, 2)))
    with pytest.raises(ShapeError, match=r"Q has shape \(4,\), expected at least 2 axes"):
        attention(np.ones(4), np.ones((5, 4)), np.ones((5, 2)))
    with pytest.raises(ShapeError, match="does not broadcast"):
        attention(np.ones((2, 4)), np.ones((5, 4)), np.ones((5, 2)), np.ones(4, bool))
