"""Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    (1)  S = Q Kᵀ / √d_k      scores    (..., n, m)
    (2)  A = softmax(S)       weights   (..., n, m)    each row sums to 1
    (3)  Y = A V              output    (..., n, d_v)

The leading axes of Q, K and V broadcast: every text of a batch can attend to every image with Q (N_t, 1, n, d) and
K (1, N_v, m, d).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import sum_to, swap
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.shapes import check_array, check_same_size


class AttentionCache(NamedTuple):
    Q: Array
    K: Array
    V: Array
    A: Array            # the attention weights: what the figures draw


class AttentionGrads(NamedTuple):
    d_Q: Array
    d_K: Array
    d_V: Array


def attention(Q: Array, K: Array, V: Array, key_mask: Array | None = None) -> tuple[Array, AttentionCache]:
    """Y (..., n, d_v) from queries Q (..., n, d_k), keys K (..., m, d_k), values V (..., m, d_v).

    `key_mask` (..., m), True = a real key. A query with no real key gets output 0.
    """
    module_of(Q, K, V, key_mask)
    for name, X in (("Q", Q), ("K", K), ("V", V)):
        check_array(name, X, min_ndim=2)
    check_same_size("Q", Q, -1, "K", K, -1, "queries and keys share d_k; project both to one size first (see linear)")
    check_same_size("K", K, -2, "V", V, -2, "one value a key")
    S = Q @ swap(K)
    S *= 1 / math.sqrt(Q.shape[-1])                                    # (1)
    A = softmax(S, None if key_mask is None else key_mask[..., None, :])  # (2)
    return A @ V, AttentionCache(Q, K, V, A)                           # (3)


def attention_backward(d_Y: Array, cache: AttentionCache) -> AttentionGrads:
    Q, K, V, A = cache
    # (3) was Y = A V
    d_A = d_Y @ swap(V)
    d_V = swap(A) @ d_Y
    # (2) was A = softmax(S)
    d_S = softmax_backward(d_A, A)
    # (1) was S = Q Kᵀ / √d_k
    d_S *= 1 / math.sqrt(Q.shape[-1])
    d_Q = d_S @ K
    d_K = swap(d_S) @ Q
    return AttentionGrads(sum_to(d_Q, Q.shape), sum_to(d_K, K.shape), sum_to(d_V, V.shape))
