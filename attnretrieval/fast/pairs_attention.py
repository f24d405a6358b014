"""Who looks at whom in a block of texts × images: both directions from one product.

Tokens are packed (see pairs_packed.py): T of the texts (R_t, d), V of the images (R_v, d).

    (1)  P = T Vᵀ                            (R_t, R_v)     every word with every region
    (2)  A_t2v = softmax of scale_t P over the regions of each image        a row of P
    (3)  A_v2t = softmax of scale_v P over the words of each text           a column of P

Dot logits have one scale, 1/√d, put into T beforehand. Then one exp serves both: E = exp(P), and

    A_t2v = E / Σ_regions E,   A_v2t = E / Σ_words E

Cosine logits: T and V come with length 1, and each direction has its learnt scale.
Both results are (R_t, R_v): A_v2t is the transpose of what its queries, the regions, would see as rows.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.fast.pairs_packed import Group, is_safe, softmax_in_items, softmax_in_items_backward


class PairAttention(NamedTuple):
    P: Array
    t2v: Array                      # (R_t, R_v) A_t2v
    v2t: Array                      # (R_t, R_v) A_v2t, transposed


def pair_attention(T: Array, V: Array, t: Group, v: Group, scales: tuple[Array, Array] | None = None) -> PairAttention:
    """`scales` of cosine logits, None for dot logits."""
    P = _all_logits(T, V)                                              # (1)
    if scales is None:
        E = module_of(P).exp(P) if is_safe(P) else None
        return PairAttention(P, softmax_in_items(P, v, E), _in_columns(P, t, E))
    return PairAttention(P, softmax_in_items(scales[0] * P, v), _in_columns(scales[1] * P, t))


def pair_attention_backward(
    d_t2v: Array, d_v2t: Array, cache: PairAttention, t: Group, v: Group, scales: tuple[Array, Array] | None,
    d_log_scales: Array,
) -> Array:
    """d_P; adds to d_log_scales (2,) where logits are cosines."""
    d_P = softmax_in_items_backward(d_t2v, cache.t2v, v)
    d_P_v = _in_columns_backward(d_v2t, cache.v2t, t)
    if scales is not None:
        # the logits were scale · P
        for i, d_scaled in enumerate((d_P, d_P_v)):
            d_scaled *= scales[i]
            d_log_scales[i] += (d_scaled * cache.P).sum()
    d_P += d_P_v
    return d_P


def _all_logits(T: Array, V: Array) -> Array:
    """T Vᵀ. Few words with many regions go as (V Tᵀ)ᵀ: BLAS is twice as fast with the longer side first."""
    if 4 * len(T) > len(V):
        return T @ V.T
    return module_of(T).ascontiguousarray((V @ T.T).T)


def _in_columns(S: Array, group: Group, E: Array | None = None) -> Array:
    """softmax of S (R_t, R_v) down the tokens of each text: `softmax_in_items` on the transpose."""
    if E is None:
        return swap(softmax_in_items(swap(S), group))
    Z = group.member.T @ E
    Z += Z == 0
    return E * module_of(E).take(1 / Z, group.owner, axis=0)


def _in_columns_backward(d_A: Array, A: Array, group: Group) -> Array:
    d_S = d_A * A
    d_S -= A * module_of(A).take(group.member.T @ d_S, group.owner, axis=0)
    return d_S
