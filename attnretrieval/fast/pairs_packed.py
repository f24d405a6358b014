"""Packed tokens: the real tokens of many items one after the other, and the groups in which pairs are scored.

    H (N, n, d), mask (N, n)   →   tokens (R, d)                R real tokens, no padding: it never enters a product
    item a                     →   tokens[segment a]            may be empty

What concerns the items of a group is a product with a matrix of the group, whatever the lengths:

    E @ member       (..., R) → (..., a)      sums over the tokens of each item
    X @ member_T     (..., a) → (..., R)      gives each token the value of its item
    mean @ F         (R, d) → (a, d)          the mean over the tokens of each item
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of, to_host
from attnretrieval.equations.softmax import softmax
from attnretrieval.fast.softmax import RANGE


class Group(NamedTuple):
    """Some items of one side that are scored together, and their tokens."""

    items: slice | np.ndarray       # among all items
    tokens: slice | Array           # among all packed tokens
    segments: tuple[slice, ...]     # of each item, among the tokens of the group
    owner: Array                    # (R,) the item of each token, counted in the group
    member: Array                   # (R, a) 1 where the token belongs to the item, else 0
    member_T: Array                 # (a, R) its transpose, with rows in one piece: faster to multiply with
    share: Array                    # (a, 1) 1 / number of tokens of the item
    mean: Array                     # (a, R) share · member_T

    def by_item(self, X: Array) -> list[Array]:
        """X (R, ...) as (items, tokens, ...): in one piece where all items have equally many tokens, else one item a piece."""
        lengths = {segment.stop - segment.start for segment in self.segments}
        if len(lengths) == 1:
            return [X.reshape(len(self.segments), *lengths, *X.shape[1:])]
        return [X[None, segment] for segment in self.segments]


class BlockSide(NamedTuple):
    """What the tokens of one side bring into a block, or the gradients of that. All computed once an item."""

    group: Group | None             # None: all items
    tokens: Array                   # (R, d) as they enter the logits
    base: Array                     # (s, R, d) of the tokens as queries: s linear maps, see pairs_contexts.py
    values: Array                   # (s, R, d) of the tokens as keys
    values_T: Array | None          # (s, d, R) the same, laid out for products with the gradient
    offset: Array | None            # (R, d) added to the fused tokens
    u: Array | None                 # (d,) the query of attention pooling

    def of(self, group: Group) -> BlockSide:
        """That of one group, as views where its tokens are neighbours."""
        here = group.tokens
        return BlockSide(group, self.tokens[here], self.base[:, here], self.values[:, here],
                         None if self.values_T is None else self.values_T[:, :, here],
                         None if self.offset is None else self.offset[here], self.u)

    def zeros(self) -> BlockSide:
        """Its gradients before anything was added. Those of `values` serve `values_T` too."""
        zeros_like = module_of(self.tokens).zeros_like
        return BlockSide(*(None if x is None else zeros_like(x) for x in self._replace(group=None, values_T=None)))


def real_tokens(mask: Array) -> Array | None:
    """(R,) where the real tokens stand among the N·n places; None where all are real."""
    return None if bool(mask.all()) else module_of(mask).flatnonzero(mask.reshape(-1))


def pack(H: Array, rows: Array | None) -> Array:
    """(R, d) the real tokens of H (N, n, d); a view where all are real."""
    tokens = H.reshape(-1, H.shape[-1])
    return tokens if rows is None else tokens[rows]


def unpack(tokens: Array, rows: Array | None, shape: tuple[int, ...]) -> Array:
    """H (N, n, d) from its real tokens; 0 in the padding."""
    if rows is None:
        return tokens.reshape(shape)
    H = module_of(tokens).zeros(shape, tokens.dtype)
    H.reshape(-1, shape[-1])[rows] = tokens
    return H


def lengths_of(mask: Array) -> np.ndarray:
    """The number of real tokens of each item of mask (N, n), on the host."""
    return to_host(mask.sum(axis=1))


def segments_of(lengths: np.ndarray) -> tuple[slice, ...]:
    """Where the tokens of each item lie, one item after the other."""
    ends = np.cumsum(lengths)
    return tuple(slice(int(end - length), int(end)) for end, length in zip(ends, lengths, strict=True))


def groups(lengths: np.ndarray, count: int, like: Array) -> list[Group]:
    """All items, in order, in `count` groups of nearly as many items each; no more groups than items."""
    count = min(count, len(lengths))
    ends = np.cumsum(lengths)
    cuts = [len(lengths) * i // max(count, 1) for i in range(count + 1)]
    found = []
    for first, last in zip(cuts, cuts[1:], strict=False):
        here = lengths[first:last]
        end = int(ends[last - 1])
        found.append(_group(slice(first, last), slice(end - int(here.sum()), end), here, like))
    return found


def listed(items: np.ndarray, lengths: np.ndarray, like: Array) -> Group:
    """These items in one group, in any order and as often as they are listed."""
    ends, here = np.cumsum(lengths)[items], lengths[items]
    if (np.diff(items) == 1).all():                                    # neighbours: views will do
        tokens = slice(int(ends[0] - here[0]), int(ends[-1]))
    else:
        tokens = module_of(like).asarray(np.concatenate(
            [np.arange(end - length, end) for end, length in zip(ends, here, strict=True)]))
    return _group(items, tokens, here, like)


def _group(items: slice | np.ndarray, tokens: slice | Array, lengths: np.ndarray, like: Array) -> Group:
    xp, dtype = module_of(like), like.dtype
    segments = segments_of(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    member_T = (np.arange(len(lengths))[:, None] == owner).astype(dtype)
    share = (1 / np.maximum(lengths, 1)[:, None]).astype(dtype)
    member, mean = np.ascontiguousarray(member_T.T), share * member_T
    return Group(items, tokens, segments, *(xp.asarray(x) for x in (owner, member, member_T, share, mean)))


def is_safe(S: Array) -> bool:
    """Whether exp may be taken of these logits without subtracting a maximum."""
    return S.size == 0 or bool(S.max() <= RANGE) and bool(S.min() >= -RANGE)


def softmax_in_items(S: Array, group: Group, E: Array | None = None) -> Array:
    """softmax of S (..., R) over the tokens of each item. `E`: exp(S) where the caller has it already.

    exp(S) over the sum in the item needs no maximum while logits are small (fast/softmax.py). Where they are not, the plain
    softmax goes item by item.
    """
    xp = module_of(S)
    if E is None and is_safe(S):
        E = xp.exp(S)
    if E is None:
        A = xp.empty_like(S)
        for segment in group.segments:
            A[..., segment] = softmax(S[..., segment])
        return A
    Z = E @ group.member
    Z += Z == 0                                                        # an item without tokens
    return E * ((1 / Z) @ group.member_T)


def softmax_in_items_backward(d_A: Array, A: Array, group: Group) -> Array:
    """d_S (..., R) = A ∘ (d_A - Σ over the item of d_A ∘ A)."""
    d_S = d_A * A
    d_S -= A * ((d_S @ group.member) @ group.member_T)
    return d_S
