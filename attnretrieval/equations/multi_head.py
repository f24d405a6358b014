"""Multi-head self-attention: every token of a sequence looks at every other.

    (1)  Q = X W_Q + b_Q    K = X W_K + b_K    V = X W_V + b_V        (..., n, d)
    (2)  Q, K, V split into h heads of d_k = d / h features            (..., h, n, d_k)
    (3)  Y = attention(Q, K, V)   in each head by itself               (..., h, n, d_k)
    (4)  C = the heads side by side                                    (..., n, d)
    (5)  H = C W_O + b_O                                               (..., n, d_out)

The residual X + H and the layer norm around it are options of the model's chain, not of this equation.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array
from attnretrieval.equations.attention import AttentionCache, attention, attention_backward
from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.equations.linear import LinearCache, linear, linear_backward
from attnretrieval.shapes import check_array, check_mask


class MultiHeadCache(NamedTuple):
    to_Q: LinearCache
    to_K: LinearCache
    to_V: LinearCache
    attended: AttentionCache    # .A is (..., h, n, n): what the figures draw
    to_H: LinearCache
    heads: int


class MultiHeadGrads(NamedTuple):
    d_X: Array
    d_W_Q: Array
    d_b_Q: Array
    d_W_K: Array
    d_b_K: Array
    d_W_V: Array
    d_b_V: Array
    d_W_O: Array
    d_b_O: Array


def multi_head_attention(
    X: Array, W_Q: Array, b_Q: Array, W_K: Array, b_K: Array, W_V: Array, b_V: Array, W_O: Array, b_O: Array,
    mask: Array | None = None, heads: int = 1,
) -> tuple[Array, MultiHeadCache]:
    """H (..., n, d_out) from X (..., n, d_in); `mask` (..., n), True = a real token; `heads` divides d."""
    check_array("X", X, min_ndim=2)
    check_mask("mask", mask, X.shape[:-1])
    Q, to_Q = linear(X, W_Q, b_Q)                                      # (1)
    K, to_K = linear(X, W_K, b_K)
    V, to_V = linear(X, W_V, b_V)
    Q, K, V = (split_heads(Z, heads) for Z in (Q, K, V))               # (2)
    key_mask = None if mask is None else mask[..., None, :]            # the same keys in every head
    Y, attended = attention(Q, K, V, key_mask)                         # (3)
    C = join_heads(Y)                                                  # (4)
    H, to_H = linear(C, W_O, b_O)                                      # (5)
    return H, MultiHeadCache(to_Q, to_K, to_V, attended, to_H, heads)


def multi_head_attention_backward(d_H: Array, cache: MultiHeadCache) -> MultiHeadGrads:
    # (5) was H = C W_O + b_O
    d_C, d_W_O, d_b_O = linear_backward(d_H, cache.to_H)
    # (4) was C = the heads side by side
    d_Y = split_heads(d_C, cache.heads)
    # (3) was Y = attention(Q, K, V)
    d_Q, d_K, d_V = attention_backward(d_Y, cache.attended)
    # (2) split Q, K, V into heads
    d_Q, d_K, d_V = join_heads(d_Q), join_heads(d_K), join_heads(d_V)
    # (1) was Q = X W_Q + b_Q, and so on: X went three ways, so its gradient is a sum of three
    d_X, d_W_Q, d_b_Q = linear_backward(d_Q, cache.to_Q)
    d_X_K, d_W_K, d_b_K = linear_backward(d_K, cache.to_K)
    d_X_V, d_W_V, d_b_V = linear_backward(d_V, cache.to_V)
    d_X += d_X_K
    d_X += d_X_V
    return MultiHeadGrads(d_X, d_W_Q, d_b_Q, d_W_K, d_b_K, d_W_V, d_b_V, d_W_O, d_b_O)
