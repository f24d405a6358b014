"""Cross-attention against loops, with each of its options."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.cross_attention import cosine_attention, cross_attention
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False, True, False], [False, False, False, False, True], [False] * 5])
IDENTITY = np.eye(4)


def draw(*shape):
    return RNG.normal(size=shape)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("projected", [False, True], ids=["plain", "projections"])
@pytest.mark.parametrize("cosine", [False, True], ids=["dot", "cosine"])
@pytest.mark.parametrize("masked", [False, True], ids=["all keys", "masked"])
def test_it_is_the_loop(heads, projected, cosine, masked):
    H, H_other = draw(3, 2, 4), draw(3, 5, 4)
    weights = {name: draw(4, 4) for name in ("W_Q", "W_K", "W_V")} if projected else {}
    log_scale = np.asarray(0.7) if cosine else None
    C, cache = cross_attention(H, H_other, MASK if masked else None, **weights, log_scale=log_scale, heads=heads)
    for i in range(3):
        mask = MASK[i] if masked else None
        Q, K, V = (reference.linear(X, weights.get(name, IDENTITY))
                   for X, name in ((H[i], "W_Q"), (H_other[i], "W_K"), (H_other[i], "W_V")))

        def one_head(q, k, v, mask=mask):
            return reference.cosine_attention(q, k, v, log_scale, mask) if cosine else reference.attention(q, k, v, mask)[0]

        # a head of one feature can be short enough for the ε of the normalisation to show
        expected = reference.by_head(one_head, heads, Q, K, V)
        np.testing.assert_allclose(C[i], expected, rtol=1e-6 if cosine else 1e-12, atol=1e-13)
    assert cache.A.shape == (3, heads, 2, 5)
    if masked:
        assert np.all(C[2] == 0) and np.all(cache.A[2] == 0)           # an image with no region


@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"log_scale": np.asarray(0.7)}], ids=["plain", "heads", "cosine"])
def test_every_text_with_every_image(options):
    H, H_other = draw(2, 1, 3, 4), draw(3, 5, 4)
    C, _ = cross_attention(H, H_other, MASK, **options)
    assert C.shape == (2, 3, 3, 4)
    for t in range(2):
        for v in range(3):
            one, _ = cross_attention(H[t, 0], H_other[v], MASK[v], **options)
            np.testing.assert_allclose(C[t, v], one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"log_scale": np.asarray(0.7)}], ids=["dot", "cosine"])
def test_padding_changes_nothing(options):
    H, H_other = draw(3, 2, 4), draw(3, 5, 4)
    padded = np.where(MASK[..., None], H_other, 1e6)
    C, C_padded = (cross_attention(H, X, MASK, **options)[0] for X in (H_other, padded))
    np.testing.assert_allclose(C_padded, C, rtol=1e-13)


def test_an_empty_set_of_keys_gives_context_zero():
    for log_scale in (None, np.asarray(0.7)):
        C, _ = cross_attention(draw(2, 4), np.zeros((0, 4)), log_scale=log_scale)
        assert C.shape == (2, 4) and np.all(C == 0)


def test_cosine_logits_do_not_depend_on_the_lengths_of_queries_and_keys():
    H, H_other, log_scale = draw(2, 4), draw(5, 4), np.asarray(1.0)
    A, A_scaled = (cross_attention(s * H, H_other, log_scale=log_scale)[1].A for s in (1, 50))
    np.testing.assert_allclose(A_scaled, A, rtol=1e-11)


def test_wrong_inputs_are_explained():
    H, H_other = np.ones((2, 4)), np.ones((5, 4))
    with pytest.raises(ShapeError, match=r"axis -1 of H \(4\) must equal axis -1 of H_other \(3\); project both"):
        cross_attention(H, np.ones((5, 3)))
    with pytest.raises(ShapeError, match=r"key_mask has shape \(2,\), which does not broadcast to \(5,\)"):
        cross_attention(H, H_other, np.ones(2, bool))
    with pytest.raises(ShapeError, match=r"log_scale has shape \(1,\), expected \(\)"):
        cross_attention(H, H_other, log_scale=np.ones(1))
    with pytest.raises(ShapeError, match=r"H has shape \(4,\), expected at least 2 axes"):
        cross_attention(H[0], H_other)
    with pytest.raises(ShapeError, match=r"H_other has shape \(4,\), expected at least 2 axes"):
        cross_attention(H, H_other[0])
    with pytest.raises(ShapeError, match="d=4 cannot be split into 3 heads"):
        cross_attention(H, H_other, heads=3)


def test_wrong_inputs_of_cosine_attention_are_explained():
    Q, K, scale = np.ones((2, 4)), np.ones((5, 4)), np.asarray(0.0)
    with pytest.raises(ShapeError, match=r"axis -1 of Q \(4\) must equal axis -1 of K \(3\); queries and keys share d_k"):
        cosine_attention(Q, np.ones((5, 3)), K, scale)
    with pytest.raises(ShapeError, match=r"axis -2 of K \(5\) must equal axis -2 of V \(6\); one value a key"):
        cosine_attention(Q, K, np.ones((6, 4)), scale)
