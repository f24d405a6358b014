"""Fast self-attention and the fast linear backward are the plain ones, gradients included, with every kind of mask."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations import linear as plain_linear
from attnretrieval.equations import multi_head as plain
from attnretrieval.fast.linear import linear_backward
from attnretrieval.fast.self_attention import multi_head_attention, multi_head_attention_backward
from attnretrieval.shapes import ShapeError
from tests.fast.forms import close, draw_mask, same

FAST = multi_head_attention, multi_head_attention_backward
PLAIN = plain.multi_head_attention, plain.multi_head_attention_backward


def draw(rng: np.random.Generator, dtype: str) -> dict:
    lead, heads = tuple(rng.integers(1, 4, rng.integers(0, 3))), int(rng.integers(1, 4))
    n, d_in, d, d_V, d_out = rng.integers(1, 7, 5) * [1, 1, heads, heads, 1]
    inputs = {"X": (*lead, n, d_in)}
    for letter, width in (("Q", d), ("K", d), ("V", d_V)):
        inputs |= {f"W_{letter}": (d_in, width), f"b_{letter}": (width,)}
    inputs |= {"W_O": (d_V, d_out), "b_O": (d_out,)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in inputs.items()} | {
        "mask": draw_mask(rng, (*lead, n)), "heads": heads}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_the_plain_self_attention(dtype):
    rng = np.random.default_rng(0)
    for _ in range(60):
        inputs = draw(rng, dtype)
        fast, slow = same(FAST, PLAIN, rng, **inputs)
        close(fast.attended.A, slow.attended.A)
        if inputs["mask"] is not None:
            hidden = np.broadcast_to(~inputs["mask"][..., None, None, :], fast.attended.A.shape)
            assert (fast.attended.A[hidden] == 0).all()


def test_a_mask_may_be_one_for_all_items():
    inputs = draw(np.random.default_rng(0), "float64") | {"mask": np.array([True, False, True])}
    inputs["X"] = np.random.default_rng(1).normal(size=(4, 3, inputs["X"].shape[-1]))
    same(FAST, PLAIN, np.random.default_rng(2), **inputs)


def test_d_X_can_be_left_out():
    rng = np.random.default_rng(0)
    H, cache = multi_head_attention(**draw(rng, "float64"))
    whole, part = (multi_head_attention_backward(H, cache, wants_d_X=wants) for wants in (True, False))
    assert part.d_X is None
    for x, y in zip(whole[1:], part[1:], strict=True):
        np.testing.assert_array_equal(x, y)


def test_queries_and_keys_share_a_size():
    inputs = draw(np.random.default_rng(0), "float64")
    inputs["W_K"] = np.ones((len(inputs["W_K"]), inputs["W_K"].shape[1] + 1))
    with pytest.raises(ShapeError, match="queries and keys"):
        multi_head_attention(**inputs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_the_linear_backward_is_the_plain_one(dtype, with_bias):
    rng = np.random.default_rng(0)
    for _ in range(20):
        sizes = rng.integers(1, 6, rng.integers(1, 4))
        X = rng.normal(size=sizes).astype(dtype)
        W = rng.normal(size=(sizes[-1], rng.integers(1, 6))).astype(dtype)
        Y, cache = plain_linear.linear(X, W, rng.normal(size=W.shape[1]).astype(dtype) if with_bias else None)
        fast, slow = linear_backward(Y, cache), plain_linear.linear_backward(Y, cache)
        close(fast.d_X, slow.d_X)
        close(fast.d_W, slow.d_W)
        if with_bias:
            close(fast.d_b, slow.d_b)
        else:
            assert fast.d_b is None
        assert linear_backward(Y, cache, wants_d_X=False).d_X is None
