"""What the score from dot products of tokens computes once an item, for pairs_mean.py: the Gram matrices.

    G      = H Hᵀ            (n, n) of the tokens of one item; those of a group make one matrix, 0 between items
    G e, e G e               with e = 1/n for every token: dot products with the mean of the item

A block's part of the gradient of G + Gᵀ is a product L Rᵀ with few columns, one for each item of the other side. The factors of
all blocks are kept side by side, so that one product an item makes its gradient at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.fast.pairs_blocks import Side
from attnretrieval.fast.pairs_packed import Group, lengths_of, pack, real_tokens, segments_of, unpack
from attnretrieval.fast.pairs_sides import logit_tokens

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters


class MeanSide(NamedTuple):
    """What the tokens of a group bring into a block."""

    group: Group
    tokens: Array                   # (R, d) as they enter the logits
    gram: Array                     # (R, R) of tokens of one item, else 0
    to_mean: Array                  # (R,) G e: each token with the mean of its item
    square: Array                   # (a,) e G e: of that mean
    e: Array                        # (R,) the weight of the token in that mean


class Whole(NamedTuple):
    """One side. What a group brings is made when it is first asked for."""

    tokens: Array                   # (R, d)
    H: Array                        # (R, d)
    parts: dict[int, MeanSide]      # by the first item

    def of(self, group: Group) -> MeanSide:
        first = group.items.start
        if first not in self.parts:
            H, e = self.H[group.tokens], group.mean.sum(axis=0)
            gram = _block_diagonal([X @ swap(X) for X in group.by_item(H)])
            to_mean = gram @ e
            self.parts[first] = MeanSide(group, self.tokens[group.tokens], gram, to_mean, group.mean @ to_mean, e)
        return self.parts[first]

    def zeros(self) -> WholeGrads:
        return WholeGrads(module_of(self.tokens).zeros_like(self.tokens), Parts())


class MeanGrads(NamedTuple):
    """The gradients of that."""

    group: Group
    tokens: Array
    to_mean: Array
    square: Array
    products: list[tuple[Array, Array]]     # L, R (R, items) of each block


class Parts(dict):
    """The gradients of the groups that were asked for, by their first item."""

    def __iadd__(self, other: Parts) -> Parts:
        """What another thread found; `tokens` are views of arrays that are added by themselves."""
        for first, part in other.items():
            if first in self:
                mine = self[first]
                mine.to_mean[...] += part.to_mean
                mine.square[...] += part.square
                mine.products.extend(part.products)
            else:
                self[first] = part
        return self


class WholeGrads(NamedTuple):
    tokens: Array
    parts: Parts

    def of(self, group: Group) -> MeanGrads:
        first = group.items.start
        if first not in self.parts:
            tokens = self.tokens[group.tokens]
            zeros = module_of(tokens).zeros
            self.parts[first] = MeanGrads(group, tokens, zeros(len(tokens), tokens.dtype),
                                          zeros(len(group.segments), tokens.dtype), [])
        return self.parts[first]


def prepare(model: Model, side: str, items: Encoded, often: bool) -> Side:
    """The texts (`side` "t") or the images ("v"), each in many pairs."""
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    tokens, _ = logit_tokens(model, side, H)
    return Side(Whole(tokens, H, {}), lengths, H, rows, items.H.shape, None)


def prepare_backward(model: Model, side: str, d: WholeGrads, forward: Side, gradient: Parameters) -> Array:
    """d_H (N, n, d) from the gradients of what was computed once an item."""
    xp, H, d_H = module_of(forward.H), forward.H, d.tokens
    if side == "t":
        d_H = d_H * (1 / math.sqrt(H.shape[-1]))
    for group, _, d_to_mean, d_square, products in d.parts.values():
        e = group.mean.sum(axis=0)
        d_to_mean += e * xp.take(d_square, group.owner)                # e G e was e·(G e)
        more = xp.stack([d_to_mean, e], axis=1)                        # G e: d_G = d_to_mean eᵀ, and its transpose
        L = xp.concatenate([*(left for left, _ in products), more], axis=1)
        R = xp.concatenate([*(right for _, right in products), more[:, ::-1]], axis=1)
        for d_X, left, right, X in zip(*map(group.by_item, (d_H[group.tokens], L, R, H[group.tokens])), strict=True):
            d_X += (left @ swap(right)) @ X                            # G was H Hᵀ
    return unpack(d_H, forward.rows, forward.shape)


def _block_diagonal(blocks: list[Array]) -> Array:
    """(R, R) with these square blocks along its diagonal, else 0; as Group.by_item gives them."""
    xp, dtype = module_of(*blocks), blocks[0].dtype
    if len(blocks) == 1:
        (a, m, _), items = blocks[0].shape, xp.arange(len(blocks[0]))
        whole = xp.zeros((a, m, a, m), dtype)
        whole[items, :, items] = blocks[0]
        return whole.reshape(a * m, a * m)
    segments = segments_of([len(X) for (X,) in blocks])
    whole = xp.zeros((segments[-1].stop, segments[-1].stop), dtype)
    for segment, (X,) in zip(segments, blocks, strict=True):
        whole[segment, segment] = X
    return whole
