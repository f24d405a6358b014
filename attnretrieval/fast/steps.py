"""The steps of a chain in their fast forms: `fast_chain` puts them in the place of the plain ones.

Names and parameters stay, so weights, gradients and saved models are the same. Steps that have no fast form stay too.

Every item of a batch goes through a step by itself, so a fast form also shares the items out over the threads that are set
(threads.py): the outputs of the parts stand below each other, and the gradients of the parameters are sums over the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.equations.linear import linear
from attnretrieval.fast.layer_norm import layer_norm, layer_norm_backward
from attnretrieval.fast.linear import linear_backward
from attnretrieval.fast.self_attention import multi_head_attention, multi_head_attention_backward
from attnretrieval.fast.threads import parts, share
from attnretrieval.steps import FeedForward, Norm, Projection, Residual, SelfAttention, Step

LEAST = 1 << 16                     # numbers of X that a thread is worth


class Part(NamedTuple):
    """Items of the batch that one thread took, and what their backward needs."""

    items: slice
    cache: Any


class FastForm(Step):
    """Stands for a plain step. A subclass says how the items of one part go through it; here as through the plain step."""

    def __init__(self, plain: Step):
        super().__init__(plain.name, **plain.wants)
        self.plain = plain

    def part_forward(self, X, mask, p):
        return self.plain.forward(X, mask, p, None)

    def part_backward(self, d_Y, cache, wants_d_X):
        return self.plain.backward(d_Y, cache)

    def forward(self, X, mask, p, rng):
        cuts = parts(len(X), -(-LEAST * len(X) // max(X.size, 1)))
        if len(cuts) == 1:
            Y, cache = self.part_forward(X, mask, p)
            return Y, [Part(cuts[0], cache)]
        if mask is not None:
            mask = np.broadcast_to(mask, X.shape[:-1])
        done = share(lambda items: self.part_forward(X[items], None if mask is None else mask[items], p), cuts)
        return np.concatenate([Y for Y, _ in done]), [Part(items, cache) for items, (_, cache) in zip(cuts, done, strict=True)]

    def backward(self, d_Y, cache):
        return self._backward(d_Y, cache, True)

    def backward_first(self, d_Y, cache):
        return self._backward(d_Y, cache, False)

    def _backward(self, d_Y, cache, wants_d_X):
        grads = share(lambda part: self.part_backward(d_Y[part.items], part.cache, wants_d_X), cache)
        return grads[0] if len(grads) == 1 else type(grads[0])(*(
            _joined(name, values) for name, values in zip(grads[0]._fields, zip(*grads, strict=True), strict=True)))


class FastProjection(FastForm):
    def part_forward(self, X, mask, p):
        return linear(X, **p)

    def part_backward(self, d_Y, cache, wants_d_X):
        return linear_backward(d_Y, cache, wants_d_X)


class FastSelfAttention(FastForm):
    def part_forward(self, X, mask, p):
        return multi_head_attention(X, **p, mask=mask, heads=self.plain.heads)

    def part_backward(self, d_Y, cache, wants_d_X):
        return multi_head_attention_backward(d_Y, cache, wants_d_X)


class FastNorm(FastForm):
    def part_forward(self, X, mask, p):
        return layer_norm(X, **p)

    def part_backward(self, d_Y, cache, wants_d_X):
        return layer_norm_backward(d_Y, cache)


FORMS = {Projection: FastProjection, SelfAttention: FastSelfAttention, FeedForward: FastForm, Norm: FastNorm}


def fast_chain(chain: Sequence[Step]) -> list[Step]:
    """The same chain on fast forms."""
    return [_fast(step) for step in chain]


def _fast(step: Step) -> Step:
    if isinstance(step, Residual):
        return Residual(_fast(step.step), step.dropout.p)
    return FORMS[type(step)](step) if type(step) in FORMS else step


def _joined(name: str, values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The gradient of all items from that of each part."""
    if values[0] is None:
        return None
    return np.concatenate(values) if name == "d_X" else sum(values[1:], start=values[0])
