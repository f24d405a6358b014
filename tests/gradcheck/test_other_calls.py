"""A wrong gradient that is the right one of another call."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.equations.attention import attention, attention_backward
from attnretrieval.equations.linear import LinearGrads, linear
from attnretrieval.gradcheck import check_gradient


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def inputs(masked: bool = False) -> dict:
    draw = rng()
    Q, K, V = draw.normal(size=(2, 4)), draw.normal(size=(3, 4)), draw.normal(size=(3, 5))
    return {"Q": Q, "K": K, "V": V, "key_mask": np.array([True, False, True]) if masked else None}


def unmasked_backward(d_Y, cache):
    """Computes the weights once more and forgets the mask."""
    Q, K, V, _ = cache
    return attention_backward(d_Y, attention(Q, K, V)[1])


def reshaped_V(d_Y, cache):
    """reshape where V must be transposed, in d_A alone."""
    Q, K, V, A = cache
    right = attention_backward(d_Y, cache)
    wrong = attention_backward(d_Y, cache._replace(V=V.reshape(V.shape[::-1]).T))
    return right._replace(d_Q=wrong.d_Q, d_K=wrong.d_K)


def half_as_large_K(d_Y, cache):
    right, wrong = attention_backward(d_Y, cache), attention_backward(d_Y, attention(cache.Q, 0.5 * cache.K, cache.V)[1])
    return right._replace(d_V=wrong.d_V)


@pytest.mark.parametrize("backward, masked, name, code, words", [
    (unmasked_backward, True, "V", "mask forgotten", "is key_mask forgotten?"),
    (reshaped_V, False, "Q", "V reshaped", "a reshape where axes must be exchanged?"),
    (half_as_large_K, False, "V", "Q scaled", "1/√4 · Q"),
])
def test_the_other_call_is_named(backward, masked, name, code, words):
    report = check_gradient(attention, backward, inputs(masked), rng=rng())
    assert report.diagnosis[name] == code, str(report)
    assert f"d_{name} is what" in str(report) and words in str(report)


def test_a_call_that_the_forward_refuses_is_passed_over():
    """Without X of its own shape linear refuses; what is wrong is still told in some way."""
    def backward(d_Y, cache):
        X, W, _ = cache
        return LinearGrads(d_Y @ W.T + 1.0, X.T @ d_Y, d_Y.sum(axis=0))

    draw = rng()
    report = check_gradient(linear, backward, {"X": draw.normal(size=(3, 4)), "W": draw.normal(size=(4, 2)),
                                               "b": draw.normal(size=2)}, rng=rng())
    assert not report.passed and set(report.diagnosis) == {"X"}
