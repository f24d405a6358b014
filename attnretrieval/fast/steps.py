"""The steps of a chain in their fast forms: `fast_chain` puts them in the place of the plain ones.

Names and parameters stay, so weights, gradients and saved models are the same. Steps that have no fast form stay too.
"""

from __future__ import annotations

from collections.abc import Sequence

from attnretrieval.equations.linear import linear
from attnretrieval.fast.layer_norm import layer_norm, layer_norm_backward
from attnretrieval.fast.linear import linear_backward
from attnretrieval.fast.self_attention import multi_head_attention, multi_head_attention_backward
from attnretrieval.steps import Norm, Projection, Residual, SelfAttention, Step


class FastForm(Step):
    """Stands for a plain step."""

    def __init__(self, plain: Step):
        super().__init__(plain.name, **plain.wants)
        self.plain = plain


class FastProjection(FastForm):
    def forward(self, X, mask, p, rng):
        return linear(X, **p)

    def backward(self, d_Y, cache):
        return linear_backward(d_Y, cache)

    def backward_first(self, d_Y, cache):
        return linear_backward(d_Y, cache, wants_d_X=False)


class FastSelfAttention(FastForm):
    def forward(self, X, mask, p, rng):
        return multi_head_attention(X, **p, mask=mask, heads=self.plain.heads)

    def backward(self, d_Y, cache):
        return multi_head_attention_backward(d_Y, cache)

    def backward_first(self, d_Y, cache):
        return multi_head_attention_backward(d_Y, cache, wants_d_X=False)


class FastNorm(FastForm):
    def forward(self, X, mask, p, rng):
        return layer_norm(X, **p)

    def backward(self, d_Y, cache):
        return layer_norm_backward(d_Y, cache)


FORMS = {Projection: FastProjection, SelfAttention: FastSelfAttention, Norm: FastNorm}


def fast_chain(chain: Sequence[Step]) -> list[Step]:
    """The same chain on fast forms."""
    return [_fast(step) for step in chain]


def _fast(step: Step) -> Step:
    if isinstance(step, Residual):
        return Residual(_fast(step.step), step.dropout.p)
    return FORMS[type(step)](step) if type(step) in FORMS else step
