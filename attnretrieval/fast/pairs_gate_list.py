"""Fusion by a gate, for a list of pairs: one item with its candidates, as a rerank asks for. Scores alone, no gradient.

The score is that of pairs_fused.py with the gate of pairs_gate.py. Candidates with equally many tokens go together, a few at a
time: their tokens are one array (k, m, d), without padding. Tokens H and what the gate's weights make of them,
X = -(H W_1 + b)/2 and Y = -(H W_2)/2, come from pairs_gate_items.py. For query tokens H (a, d), keys K (b, d) of the other item
and weights A (a, b):

    (1)  B = X + A Y_K                                   since (A K) W_2 = A (K W_2), as in pairs_contexts.py
    (2)  T = tanh B                                      the share of the context, 1 - G, is (1 + T)/2
    (3)  F = H + (1 + T) ∘ (C - H) / 2,   C = A K

With the mean as pooling no F is made. Where keys are fewer than queries, no C either: it stands in a sum over the queries, in
which the product may go the other way, to the (b, d) keys:

    (4)  Σ_i T_i ∘ C_i = Σ_i T_i ∘ Σ_j A_ij K_j = Σ_j (Aᵀ T)_j ∘ K_j
    (5)  mean F = (mean H + mean C + mean (T ∘ C) - mean (T ∘ H)) / 2,   mean C = (mean A) K
    (6)  s = cos(g_t, g_v)

For all pairs of a batch, pairs_gate.py makes C and B in one product: there an item is in many pairs, and what is laid out for
it once serves all of them. A candidate is in one pair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.blocks import spans
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import l2_normalise
from attnretrieval.equations.pooling import pool_attention
from attnretrieval.equations.softmax import softmax
from attnretrieval.equations.token_cosine import token_cosine
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.pairs_blocks import scales_of
from attnretrieval.fast.pairs_gate_items import GateItems, Source
from attnretrieval.fast.pairs_packed import is_safe, lengths_of
from attnretrieval.fast.pairs_sides import OTHER
from attnretrieval.fast.threads import share

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model

CHUNK = 220_000                     # numbers in the tokens of the candidates that are worked on at once; fewer cost more calls


class Asking(NamedTuple):
    """The one item."""

    side: str                       # "t" or "v"
    X: Array                        # (n, d), as Y and H
    Y: Array
    H: Array


def serves(model: Model) -> bool:
    return pairs_fused.serves(model) and model.config.fusion == "gate"


def gate_pairs(
    model: Model, texts: Encoded, images: Encoded, t_index: Array, v_index: Array, kept: dict[str, Source] | None = None
) -> Array:
    """s (P,) of texts[t_index[p]] with images[v_index[p]]. `kept`: by side, "t" or "v", of which H then may be None."""
    items, index = {"t": texts, "v": images}, {"t": to_host(t_index), "v": to_host(v_index)}
    kept = {side: GateItems(side, items[side], len(items[side].g)).source(model) for side in items} | (kept or {})
    lengths = {side: lengths_of(items[side].mask)[index[side]] for side in items}      # of each pair
    asks = min(items, key=lambda side: _count(index[side], lengths[OTHER[side]]))
    one, other, length = index[asks], index[OTHER[asks]], lengths[OTHER[asks]]
    xp, d = module_of(texts.g), texts.g.shape[-1]
    s = xp.empty(len(one), texts.g.dtype)

    def work(item: int) -> None:
        pairs = np.flatnonzero(one == item)
        asking = Asking(asks, *kept[asks](np.array([item]))[:, 0])
        g = xp.empty((2, len(pairs), d), s.dtype)
        for block in _blocks(length[pairs], d):
            here = xp.asarray(block)
            g[0, here], g[1, here] = _vectors(model, asking, *kept[OTHER[asks]](other[pairs[block]]))
        s[xp.asarray(pairs)] = token_cosine(*g)[0]                     # (6)

    share(work, np.unique(one))
    return s


def _count(one: np.ndarray, length: np.ndarray) -> int:
    """How many groups there are of one item with candidates of one length."""
    return len(np.unique(one * (1 + length.max(initial=0)) + length))


def _blocks(lengths: np.ndarray, d: int) -> list[np.ndarray]:
    """Candidates of one item, of these lengths, in blocks of equally many tokens each."""
    blocks = []
    for m in np.unique(lengths).tolist():
        alike = np.flatnonzero(lengths == m)
        blocks += [alike[span] for span in spans(len(alike), max(1, CHUNK // max(1, m * d)))]
    return blocks


def _vectors(model: Model, one: Asking, X_K: Array, Y_K: Array, K: Array) -> tuple[Array, Array]:
    """g (k, d) of the one item with each of k items of the other side, whose tokens are K (k, m, d), and theirs with it."""
    A_K, A = _attention(model, one, K)
    return _pooled(model, one.side, A, one.H, one.X, K, Y_K), _pooled(model, OTHER[one.side], A_K, K, X_K, one.H, one.Y)


def _attention(model: Model, one: Asking, K: Array) -> tuple[Array, Array]:
    """Weights of the candidates' tokens on those of the one item (k, m, n), and of its tokens on theirs (k, n, m)."""
    xp, scales, H = module_of(K), scales_of(model), one.H
    if scales is not None:
        P = l2_normalise(H)[0] @ swap(l2_normalise(K)[0])
        scale, scale_K = scales if one.side == "t" else scales[::-1]
        return softmax(swap(scale_K * P)), softmax(scale * P)
    P = (H * (1 / math.sqrt(H.shape[-1]))) @ swap(K)
    if P.size == 0 or not is_safe(P):
        return softmax(swap(P)), softmax(P)
    E = xp.exp(P, out=P)                                               # one serves both, as in pairs_attention.py
    Z, Z_K = E @ xp.ones((E.shape[2], 1), E.dtype), xp.ones((1, E.shape[1]), E.dtype) @ E
    return swap(E * (1 / Z_K)), E * (1 / Z)


def _pooled(model: Model, side: str, A: Array, H: Array, X: Array, K: Array, Y_K: Array) -> Array:
    """g (k, d) of query tokens H (a, d) or (k, a, d), of this side, with key tokens K (b, d) or (k, b, d)."""
    xp = module_of(H)
    (a, d), b = H.shape[-2:], K.shape[-2]
    if a == 0:
        return xp.zeros((len(A), d), H.dtype)
    T = A @ Y_K
    T += X                                                             # (1)
    T = xp.tanh(T, out=T)                                              # (2)
    pooling = (model.config.text if side == "t" else model.config.image).pooling
    if pooling != "mean":
        T += 1
        T *= A @ K - H
        T *= 0.5
        T += H                                                         # (3)
        return T.max(axis=-2) if pooling == "max" else pool_attention(T, **model.parameters.under(f"pool_{side}"))[0]
    mean = xp.full((1, a), 1 / a, H.dtype)
    if b < a:
        g = _sum_of_products(swap(A) @ T, K)                           # (4)
        g -= _sum_of_products(T, H)
        means = (mean @ A) @ K
        means += mean @ H
    else:
        D = A @ K
        D -= H
        T += 1
        g = _sum_of_products(T, D)
        means = 2 * (mean @ H)
    g *= 1 / a
    g += means[..., 0, :]
    g *= 0.5
    return g                                                           # (5), or the mean of (3)


def _sum_of_products(X: Array, Y: Array) -> Array:
    """Σ_i X_i ∘ Y_i (..., d), without an array of the products."""
    return module_of(X).einsum("...id,...id->...d", X, Y)
