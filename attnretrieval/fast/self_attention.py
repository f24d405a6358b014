"""Multi-head self-attention with fewer and larger products. Plain: equations/multi_head.py.

    (1)  [Q ; K ; V] = X [W_Q ; W_K ; W_V] + [b_Q ; b_K ; b_V]      one product over all N·n tokens
    (2)  Q ← Q / √d_k                       n·d_k numbers a head instead of the n·n of S
    (3)  S = Q Kᵀ,  A = softmax(S)          in each head; Q, K and V are views of (1)
    (4)  C = A V                            each head writes into its own columns of C
    (5)  H = C W_O + b_O

Block columns make (1) the three plain products side by side. The scale moves because (Q / √d_k) Kᵀ = (Q Kᵀ) / √d_k. The
backward uses the same block columns: with D = [d_Q ; d_K ; d_V],

    [d_W_Q ; d_W_K ; d_W_V] = Xᵀ D          d_X = D [W_Q ; W_K ; W_V]ᵀ      the sum of the three ways that X went

Where X is the input of the model nobody needs d_X, which costs as much as (1): `wants_d_X=False` leaves it out.
A mask that hides nothing is dropped.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from attnretrieval.equations.attention import AttentionCache
from attnretrieval.equations.axes import swap
from attnretrieval.equations.heads import split_heads
from attnretrieval.equations.linear import LinearCache, linear
from attnretrieval.equations.multi_head import MultiHeadGrads
from attnretrieval.fast.linear import linear_backward
from attnretrieval.fast.softmax import column_sums, softmax, softmax_backward
from attnretrieval.parameters import side_by_side
from attnretrieval.shapes import check_array, check_mask, check_same_size


class FastMultiHeadCache(NamedTuple):
    to_QKV: LinearCache
    attended: AttentionCache    # .Q is scaled; .A is (..., h, n, n): what the figures draw
    to_H: LinearCache
    heads: int


class Joined(NamedTuple):
    """The weights of (1) side by side, and those of (5)."""

    W: np.ndarray               # (d_in, d + d + d_v)
    b: np.ndarray
    W_O: np.ndarray
    b_O: np.ndarray
    width: int                  # d: columns of Q, and of K


def multi_head_attention(
    X: np.ndarray, W_Q: np.ndarray, b_Q: np.ndarray, W_K: np.ndarray, b_K: np.ndarray, W_V: np.ndarray, b_V: np.ndarray,
    W_O: np.ndarray, b_O: np.ndarray, mask: np.ndarray | None = None, heads: int = 1,
) -> tuple[np.ndarray, FastMultiHeadCache]:
    """H (..., n, d_out) from X (..., n, d_in); `mask` (..., n), True = a real token; `heads` divides d."""
    return attend(X, joined(W_Q, b_Q, W_K, b_K, W_V, b_V, W_O, b_O), mask, heads)


def multi_head_attention_backward(d_H: np.ndarray, cache: FastMultiHeadCache, wants_d_X: bool = True) -> MultiHeadGrads:
    D = np.empty((*d_H.shape[:-1], cache.to_QKV.W.shape[1]), d_H.dtype)
    gradients = attend_backward(d_H, cache, D)
    return inputs_backward(D, cache.to_QKV, cache.heads * cache.attended.Q.shape[-1], *gradients, wants_d_X)


# ---- its parts: threads share the items of all but the last, which they share otherwise (fast/linear.py) -------------------


def joined(W_Q, b_Q, W_K, b_K, W_V, b_V, W_O, b_O) -> Joined:
    """The parameters of `multi_head_attention` for `attend`; no copy of those that lie side by side (parameters.py)."""
    check_same_size("W_Q", W_Q, 1, "W_K", W_K, 1, "queries and keys share d")
    W = side_by_side(W_Q, W_K, W_V)
    if W is None:
        W = np.concatenate([W_Q, W_K, W_V], axis=1)
    return Joined(W, np.concatenate([b_Q, b_K, b_V]), W_O, b_O, W_Q.shape[1])


def attend(X: np.ndarray, p: Joined, mask: np.ndarray | None, heads: int) -> tuple[np.ndarray, FastMultiHeadCache]:
    """(1) to (5): H (..., n, d_out) from X (..., n, d_in)."""
    check_array("X", X, min_ndim=2)
    check_mask("mask", mask, X.shape[:-1])
    QKV, to_QKV = linear(X, p.W, p.b)                                  # (1)
    Q, K, V = _columns(QKV, p.width, heads)
    Q *= 1 / math.sqrt(Q.shape[-1])                                    # (2)
    key_mask = None if mask is None or mask.all() else mask[..., None, None, :]
    S = Q @ swap(K)
    A = softmax(S, key_mask, out=S)                                    # (3)
    C = np.empty((*X.shape[:-1], p.W.shape[1] - 2 * p.width), X.dtype)
    np.matmul(A, V, out=split_heads(C, heads))                         # (4)
    H, to_H = linear(C, p.W_O, p.b_O)                                  # (5)
    return H, FastMultiHeadCache(to_QKV, AttentionCache(Q, K, V, A), to_H, heads)


def attend_backward(
    d_H: np.ndarray, cache: FastMultiHeadCache, D: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fills D (..., n, d + d + d_v), the gradient of [Q ; K ; V]; d_b, d_W_O and d_b_O."""
    _, (Q, K, V, A), to_H, heads = cache
    # (5) was H = C W_O + b_O
    of_O = linear_backward(d_H, to_H)
    d_Y = split_heads(of_O.d_X, heads)
    d_Q, d_K, d_V = _columns(D, heads * Q.shape[-1], heads)
    # (4) was C = A V
    np.matmul(swap(A), d_Y, out=d_V)
    d_A = d_Y @ swap(V)
    # (3) was A = softmax(S), S = Q Kᵀ
    d_S = softmax_backward(d_A, A, out=d_A)
    np.matmul(d_S, K, out=d_Q)
    np.matmul(swap(d_S), Q, out=d_K)
    # (2) scaled Q
    d_Q *= 1 / math.sqrt(Q.shape[-1])
    return column_sums(D), of_O.d_W, of_O.d_b


def inputs_backward(
    D: np.ndarray, to_QKV: LinearCache, width: int, d_b: np.ndarray, d_W_O: np.ndarray, d_b_O: np.ndarray, wants_d_X: bool
) -> MultiHeadGrads:
    """All gradients from D (..., n, d + d + d_v), that of [Q ; K ; V], and what `attend_backward` found; `width` is d."""
    # (1) was [Q ; K ; V] = X W + b
    d_X, d_W, _ = linear_backward(D, to_QKV._replace(has_bias=False), wants_d_X)
    of_Q, of_K, of_V = slice(width), slice(width, 2 * width), slice(2 * width, None)
    return MultiHeadGrads(d_X, d_W[:, of_Q], d_b[of_Q], d_W[:, of_K], d_b[of_K], d_W[:, of_V], d_b[of_V], d_W_O, d_b_O)


def _columns(QKV: np.ndarray, width: int, heads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Q, K (..., h, n, d_k) and V (..., h, n, d_v) as views of their columns."""
    return (split_heads(QKV[..., :width], heads), split_heads(QKV[..., width:2 * width], heads),
            split_heads(QKV[..., 2 * width:], heads))
