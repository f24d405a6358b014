"""Poolings against loops; masks; ties of the maximum."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.pooling import POOLINGS, pool_attention, pool_max, pool_max_backward, pool_mean, pool_weights
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, True, False], [False, False, True, False, False], [False] * 5])
LOOPS = {"mean": reference.pool_mean, "max": reference.pool_max, "attention": reference.pool_attention}


def draw(*shape):
    return RNG.normal(size=shape)


def extra(pooling: str) -> tuple:
    return (draw(4),) if pooling == "attention" else ()


@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "masked"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_is_the_loop(pooling, mask):
    F, u = draw(3, 5, 4), extra(pooling)
    g, _ = POOLINGS[pooling][0](F, *u, mask)
    expected = [LOOPS[pooling](F[i], *u, None if mask is None else mask[i]) for i in range(3)]
    np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_leading_axes_share_a_mask(pooling):
    F, u = draw(2, 3, 5, 4), extra(pooling)
    g, _ = POOLINGS[pooling][0](F, *u, MASK)
    for t in range(2):
        np.testing.assert_allclose(g[t], POOLINGS[pooling][0](F[t], *u, MASK)[0], rtol=1e-14)


@pytest.mark.parametrize("mask_shape", [(3, 1), (1, 5), (5,)])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_mask_that_broadcasts(pooling, mask_shape):
    F, u, mask = draw(3, 5, 4), extra(pooling), RNG.random(mask_shape) > 0.4
    g, _ = POOLINGS[pooling][0](F, *u, mask)
    whole, _ = POOLINGS[pooling][0](F, *u, np.broadcast_to(mask, (3, 5)))
    np.testing.assert_allclose(g, whole, rtol=1e-14)


@pytest.mark.parametrize("padding", [1e9, -1e9])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling, padding):
    F, u, d_g = draw(3, 5, 4), extra(pooling), draw(3, 4)
    forward, backward = POOLINGS[pooling]
    padded = np.where(MASK[..., None], F, padding)
    (g, cache), (g_padded, cache_padded) = forward(F, *u, MASK), forward(padded, *u, MASK)
    np.testing.assert_allclose(g_padded, g, rtol=1e-14)
    d_F = backward(d_g, cache).d_F
    np.testing.assert_allclose(backward(d_g, cache_padded).d_F[MASK], d_F[MASK], rtol=1e-12)
    assert np.all(backward(d_g, cache_padded).d_F[~MASK] == 0)


def test_a_maximum_that_is_negative_is_not_beaten_by_padding():
    g, _ = pool_max(np.array([[-3.0], [-2.0], [0.0]]), np.array([True, True, False]))
    assert g == -2


def test_a_tie_goes_to_the_first():
    _, cache = pool_max(np.array([[1.0], [2.0], [2.0]]))
    np.testing.assert_array_equal(pool_max_backward(np.array([5.0]), cache).d_F, [[0], [5], [0]])


def test_the_pooling_weights_are_a_distribution_over_real_tokens():
    a, _ = pool_weights(draw(3, 5, 4), draw(4), MASK)
    np.testing.assert_allclose(a.sum(axis=-1), [1, 1, 0])
    assert np.all(a[~MASK] == 0)


def test_wrong_shapes_are_explained():
    with pytest.raises(ShapeError, match=r"mask has shape \(3, 4\), which does not broadcast to \(3, 5\)"):
        pool_mean(np.ones((3, 5, 4)), np.ones((3, 4), bool))
    with pytest.raises(ShapeError, match=r"u has shape \(5,\), expected \(4,\); one query for all tokens"):
        pool_attention(np.ones((3, 5, 4)), np.ones(5))
    with pytest.raises(ShapeError, match=r"F has shape \(4,\), expected at least 2 axes"):
        pool_max(np.ones(4))
