"""Pooling of packed tokens: one vector for each query item of a group, for many key items at once.

    mean        g = mean F
    max         g_a = max over the tokens of item a
    attention   e = F u / √d,   a = softmax of e in each item,   g_a = Σ_i a_i F_i

F (c, R, d), g (c, a, d): c key items, R tokens, a query items. The tokens to be pooled are F + offset: the mean adds the mean
of `offset` instead, and the others add it to F, in place. An item without tokens gives g = 0.
"""

from __future__ import annotations

import math

from attnretrieval.backend import Array, module_of
from attnretrieval.fast.pairs_packed import BlockSide, softmax_in_items, softmax_in_items_backward


def mean(F: Array, query: BlockSide) -> Array:
    g = query.group.mean @ F
    if query.offset is not None:
        g += query.group.mean @ query.offset
    return g


def mean_backward(d_g: Array, F: Array | None, query: BlockSide, d_query: BlockSide) -> Array:
    if query.offset is not None:
        d_query.offset[...] += query.group.mean.T @ d_g.sum(axis=0)
    return module_of(d_g).take(d_g * query.group.share, query.group.owner, axis=1)


def largest(F: Array, query: BlockSide) -> Array:
    xp = module_of(F)
    if query.offset is not None:
        F += query.offset
    g = xp.zeros((len(F), len(query.group.segments), F.shape[-1]), F.dtype)
    for a, segment in enumerate(query.group.segments):
        if segment.stop > segment.start:
            g[:, a] = F[:, segment].max(axis=1)
    return g


def largest_backward(d_g: Array, F: Array, query: BlockSide, d_query: BlockSide) -> Array:
    xp = module_of(F)
    if query.offset is not None:
        F += query.offset
    d_F = xp.zeros_like(F)
    for a, segment in enumerate(query.group.segments):
        if segment.stop > segment.start:
            first = F[:, segment].argmax(axis=1)                  # (c, d): of equal ones the first
            tokens = xp.arange(segment.stop - segment.start).reshape(1, -1, 1)
            d_F[:, segment] = (tokens == first[:, None]) * d_g[:, a, None]
    return _through_offset(d_F, query, d_query)


def attention(F: Array, query: BlockSide) -> Array:
    if query.offset is not None:
        F += query.offset
    return (_weights(F, query)[:, None] * query.group.member.T) @ F


def attention_backward(d_g: Array, F: Array, query: BlockSide, d_query: BlockSide) -> Array:
    group, d = query.group, F.shape[-1]
    if query.offset is not None:
        F += query.offset
    a = _weights(F, query)
    # g was Σ_i a_i F_i
    d_F = module_of(F).take(d_g, group.owner, axis=1)
    d_a = (d_F * F).sum(axis=-1)
    d_F *= a[..., None]
    # a was softmax(e) in each item, e = F u / √d
    d_e = softmax_in_items_backward(d_a, a, group)
    d_e *= 1 / math.sqrt(d)
    d_query.u[...] += d_e.reshape(-1) @ F.reshape(-1, d)
    d_F += d_e[..., None] * query.u
    return _through_offset(d_F, query, d_query)


def _weights(F: Array, query: BlockSide) -> Array:
    return softmax_in_items((F @ query.u) * (1 / math.sqrt(F.shape[-1])), query.group)


def _through_offset(d_F: Array, query: BlockSide, d_query: BlockSide) -> Array:
    if query.offset is not None:
        d_query.offset[...] += d_F.sum(axis=0)
    return d_F


POOLINGS = {"mean": (mean, mean_backward), "max": (largest, largest_backward), "attention": (attention, attention_backward)}
