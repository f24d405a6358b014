"""Fusions against loops, alone (C=None) and over every pair."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.fusion import FUSIONS, fuse_add, fuse_concat, fuse_gate
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape)


def extra(fusion: str) -> tuple:
    return () if fusion == "add" else (draw(8, 4), draw(4))


@pytest.mark.parametrize("alone", [False, True], ids=["paired", "alone"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_it_is_the_loop(fusion, alone):
    H, C, weights = draw(2, 3, 4), None if alone else draw(2, 3, 4), extra(fusion)
    F, _ = FUSIONS[fusion][0](H, C, *weights)
    for i in range(2):
        expected = reference.fuse(fusion, H[i], None if alone else C[i], *weights)
        np.testing.assert_allclose(F[i], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_alone_is_a_context_of_zeros(fusion):
    H, weights, d_F = draw(2, 3, 4), extra(fusion), draw(2, 3, 4)
    forward, backward = FUSIONS[fusion]
    (F, cache), (F_zero, cache_zero) = forward(H, None, *weights), forward(H, np.zeros_like(H), *weights)
    np.testing.assert_allclose(F, F_zero, rtol=1e-14)
    grads, grads_zero = backward(d_F, cache), backward(d_F, cache_zero)
    assert grads.d_C is None
    for name in set(grads._fields) - {"d_C"}:
        np.testing.assert_allclose(getattr(grads, name), getattr(grads_zero, name), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_text_with_its_contexts_from_every_image(fusion):
    H, C, weights = draw(2, 1, 3, 4), draw(2, 5, 3, 4), extra(fusion)
    F, _ = FUSIONS[fusion][0](H, C, *weights)
    for t in range(2):
        for v in range(5):
            np.testing.assert_allclose(F[t, v], FUSIONS[fusion][0](H[t, 0], C[t, v], *weights)[0], rtol=1e-12, atol=1e-14)


def test_an_open_gate_keeps_the_token_and_a_shut_one_the_context():
    H, C, W = draw(3, 4), draw(3, 4), np.zeros((8, 4))
    with np.errstate(over="raise"):
        np.testing.assert_allclose(fuse_gate(H, C, W, np.full(4, 1e4))[0], H)
        np.testing.assert_allclose(fuse_gate(H, C, W, np.full(4, -1e4))[0], C)


def test_wrong_shapes_are_explained():
    H = np.ones((3, 4))
    with pytest.raises(ShapeError, match=r"axis -2 of H \(3\) must equal axis -2 of C \(5\); one context a token"):
        fuse_add(H, np.ones((5, 4)))
    with pytest.raises(ShapeError, match=r"axis -1 of H \(4\) must equal axis -1 of C \(6\)"):
        fuse_add(H, np.ones((3, 6)))
    with pytest.raises(ShapeError, match=r"W has shape \(4, 4\), expected \(8, 4\); one row a feature of H, then"):
        fuse_concat(H, H, np.ones((4, 4)), np.ones(4))
    with pytest.raises(ShapeError, match=r"W has shape \(8,\), expected \(8, 8\)"):
        fuse_concat(H, H, np.ones(8), np.ones(4))
    with pytest.raises(ShapeError, match=r"C has shape \(4,\), expected at least 2 axes"):
        fuse_concat(H, H[0], np.ones((8, 4)), np.ones(4))
    with pytest.raises(ShapeError, match=r"axis -1 of W \(5\) must equal axis -1 of H \(4\); one gate a feature"):
        fuse_gate(H, H, np.ones((8, 5)), np.ones(5))
