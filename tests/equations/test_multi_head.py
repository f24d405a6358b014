"""Multi-head self-attention against loops, one head at a time."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course import reference
from attnretrieval.equations.multi_head import multi_head_attention
from attnretrieval.shapes import ShapeError

RNG = np.random.default_rng(0)
MASK = np.array([[True, True, False], [False, True, False]])


def weights(d_in=5, d=4, d_out=3) -> dict:
    draw = RNG.normal
    return {**{f"W_{name}": draw(size=(d_in, d)) for name in "QKV"}, **{f"b_{name}": draw(size=d) for name in "QKV"},
            "W_O": draw(size=(d, d_out)), "b_O": draw(size=d_out)}


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "masked"])
def test_it_is_the_loop(heads, mask):
    X, p = RNG.normal(size=(2, 3, 5)), weights()
    H, cache = multi_head_attention(X, **p, mask=mask, heads=heads)
    for i in range(2):
        expected = reference.multi_head(X[i], p, None if mask is None else mask[i], heads)
        np.testing.assert_allclose(H[i], expected, rtol=1e-12, atol=1e-13)
    assert cache.attended.A.shape == (2, heads, 3, 3)


def test_padding_changes_no_real_token():
    X, p = RNG.normal(size=(2, 3, 5)), weights()
    padded = np.where(MASK[..., None], X, 1e6)
    H, H_padded = (multi_head_attention(x, **p, mask=MASK, heads=2)[0] for x in (X, padded))
    np.testing.assert_allclose(H_padded[MASK], H[MASK], rtol=1e-13)


def test_wrong_inputs_are_explained():
    X, p = RNG.normal(size=(2, 3, 5)), weights()
    with pytest.raises(ShapeError, match="d=4 cannot be split into 3 heads"):
        multi_head_attention(X, **p, heads=3)
    with pytest.raises(ShapeError, match=r"mask has shape \(2, 4\), which does not broadcast to \(2, 3\)"):
        multi_head_attention(X, **p, mask=np.ones((2, 4), bool))
    with pytest.raises(ShapeError, match=r"axis -1 of X \(6\) must equal axis 0 of W \(5\)"):
        multi_head_attention(np.ones((2, 3, 6)), **p)
    with pytest.raises(ShapeError, match=r"X has shape \(5,\), expected at least 2 axes"):
        multi_head_attention(np.ones(5), **p)
