"""Fusion by a gate, for a list of pairs: one item with its candidates, as a rerank asks for. Scores alone, no gradient.

The score is that of pairs_fused.py with the gate of pairs_gate.py. Two products of an item with the gate's weights are most of
the work, and they depend on that item alone:

    (1)  X = -(H W_1 + b)/2,   Y = -(H W_2)/2            `gate_products`, or given by a caller who kept them

For the tokens H of the items that ask, and their weights A on the tokens of an item of the other side:

    (2)  D = A H_other - H,   B = X + A Y_other          since (A H) W_2 = A (H W_2), as in pairs_contexts.py
    (3)  p = 1 + tanh B                                  twice the share of the context: 1 - G = p/2
    (4)  F = H + D ∘ p / 2
    (5)  mean F = mean H + ½ mean (D ∘ p)

For all pairs of a batch, pairs_gate.py has D and B as two maps in one array: each item is in many pairs, and ±H/2 beside X, Y
is copied once for all of them. A candidate is in one pair, so nothing of it is copied here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.blocks import spans
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import l2_normalise
from attnretrieval.fast import pairs_fused
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import Listed, Side
from attnretrieval.fast.pairs_packed import Group, lengths_of, pack, real_tokens, segments_of
from attnretrieval.fast.pairs_pooling import POOLINGS
from attnretrieval.fast.pairs_sides import gate_products, logit_tokens

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model

CHUNK = 65_536                      # numbers in D that are worked on at once: they stay in the cache


class GateSide(NamedTuple):
    """What the items of one side bring."""

    group: Group | None             # None: all items
    tokens: Array                   # (R, d) for the logits
    offset: Array                   # (R, d) H
    products: Sequence[Array]       # (2, tokens, d) of each item: X and Y
    u: Array | None                 # (d,) the query of attention pooling

    def of(self, group: Group) -> GateSide:
        here = group.tokens
        return GateSide(group, self.tokens[here], self.offset[here], [self.products[item] for item in group.items], self.u)


def serves(model: Model) -> bool:
    return pairs_fused.serves(model) and model.config.fusion == "gate"


def prepare(
    model: Model, side: str, items: Encoded, often: bool, products: dict[str, Sequence[Array]] | None = None
) -> Side:
    """The texts (`side` "t") or the images ("v"). `products`: by side, those of each item, where they are there already."""
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    given = (products or {}).get(side)
    if given is None:
        given = products_of_items(model, side, H, lengths)
    u = model.parameters.under(f"pool_{side}").get("u")
    tokens, _ = logit_tokens(model, side, H)
    return Side(GateSide(None, tokens, H, given, u), lengths, H, rows, items.H.shape, None)


def products_of_items(model: Model, side: str, H: Array, lengths: Sequence[int]) -> list[Array]:
    """(1) of the packed tokens H (R, d), item by item: views of one array."""
    products = module_of(H).empty((2, *H.shape), H.dtype)
    gate_products(model, side, H, out=products)
    return [products[:, segment] for segment in segments_of(lengths)]


def gated_score(model: Model, A: PairAttention, t: GateSide, v: GateSide) -> tuple[Array, None]:
    """s (a, b) of a texts and b images, one of them a single item."""
    config = model.config
    g_t = _fused(A.t2v, t, v, config.text.pooling)
    g_v = _fused(swap(A.v2t), v, t, config.image.pooling)
    t_hat, v_hat = l2_normalise(g_t)[0], l2_normalise(g_v)[0]
    return (t_hat.swapaxes(0, 1) * v_hat).sum(axis=-1), None


def _fused(A: Array, query: GateSide, key: GateSide, pooling: str) -> Array:
    """g (keys, queries, d): the pooled vector of each query item for each key item, a few items at a time."""
    queries, keys, d = query.group.segments, key.group.segments, query.offset.shape[-1]
    g = module_of(A).empty((len(keys), len(queries), d), query.offset.dtype)
    longest = max((segment.stop - segment.start for segment in queries), default=0)
    few = CHUNK // max(1, longest * d) if pooling == "mean" else len(queries)      # other poolings want the whole group
    for some in spans(len(queries), max(1, few)):
        rows = slice(queries[some][0].start, queries[some][-1].stop)
        H, mean = query.offset[rows], query.group.mean[some, rows]
        for others in spans(len(keys), max(1, CHUNK // max(1, H.size))):
            D = _share_of_context(A[rows], H, query.products[some], key, others)
            if pooling == "mean":
                g[others, some] = 0.5 * (mean @ D) + mean @ H          # (5)
            else:
                D *= 0.5
                g[others] = POOLINGS[pooling][0](D, query)             # (4), where H is the offset
    return g


def _share_of_context(A: Array, H: Array, own: Sequence[Array], key: GateSide, others: slice) -> Array:
    """D ∘ p (others, R, d) of query tokens H, whose items have the products `own`, with these items of the other side."""
    xp = module_of(A)
    segments = key.group.segments[others]
    D, p = xp.empty((2, len(segments), *H.shape), H.dtype)
    for j, (segment, (_, Y)) in enumerate(zip(segments, key.products[others], strict=True)):
        xp.matmul(A[:, segment], key.offset[segment], out=D[j])
        xp.matmul(A[:, segment], Y, out=p[j])
    D -= H
    for segment, (X, _) in zip(segments_of([x.shape[1] for x in own]), own, strict=True):
        p[:, segment] += X                                             # (2)
    xp.tanh(p, out=p)
    p += 1                                                             # (3)
    D *= p
    return D


GATED = Listed(prepare, gated_score)
