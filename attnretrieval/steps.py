"""The steps that a chain is made of: each an equation with a name for its parameters.

A chain is a list of steps. `run` goes down the list, `run_backward` reads the same list upwards:

    X, tape = run(chain, X, mask, parameters, rng)
    run_backward(tape, d_X, gradient)

A step has a `name`, the parameters it `wants`, a `forward` and a `backward` whose result has the fields d_X and d_<parameter>.
To add a step, write one class here and put it into a chain in config.py. `rng` is None outside training: no dropout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.equations.dropout import DropoutGrads, draw_dropout, dropout, dropout_backward
from attnretrieval.equations.embedding import embedding, embedding_backward
from attnretrieval.equations.feed_forward import feed_forward, feed_forward_backward
from attnretrieval.equations.layer_norm import layer_norm, layer_norm_backward
from attnretrieval.equations.linear import linear, linear_backward
from attnretrieval.equations.multi_head import multi_head_attention, multi_head_attention_backward
from attnretrieval.equations.positions import position_code, position_code_backward
from attnretrieval.parameters import Parameters, Wanted


class Step:
    """One place in a chain."""

    def __init__(self, name: str, **wants: Wanted):
        self.name = name
        self.wants = wants

    def forward(self, X: Array, mask: Array | None, p: dict[str, Array], rng: np.random.Generator | None):
        raise NotImplementedError

    def backward(self, d_Y: Array, cache: Any):
        raise NotImplementedError

    def backward_first(self, d_Y: Array, cache: Any):
        """As `backward`, where X is data and nobody needs d_X: a step may leave it out."""
        return self.backward(d_Y, cache)


class Embedding(Step):
    """Ids to word vectors. Has no d_X: ids have no gradient."""

    def __init__(self, name: str, rows: int, d: int):
        super().__init__(name, E=Wanted((rows, d), "small"))

    def forward(self, X, mask, p, rng):
        return embedding(p["E"], X)

    def backward(self, d_Y, cache):
        return embedding_backward(d_Y, cache)


class Projection(Step):
    """One linear layer, from the size of the inputs to the size of the model."""

    def __init__(self, name: str, d_in: int, d_out: int):
        super().__init__(name, W=Wanted((d_in, d_out)), b=Wanted((d_out,), "zeros"))

    def forward(self, X, mask, p, rng):
        return linear(X, **p)

    def backward(self, d_Y, cache):
        return linear_backward(d_Y, cache)


class Positions(Step):
    """A learnt vector for every place."""

    def __init__(self, name: str, places: int, d: int):
        super().__init__(name, E=Wanted((places, d), "small"))

    def forward(self, X, mask, p, rng):
        return position_code(X, p["E"])

    def backward(self, d_Y, cache):
        return position_code_backward(d_Y, cache)


class SelfAttention(Step):
    """Multi-head self-attention within one modality."""

    def __init__(self, name: str, d_in: int, d: int, heads: int):
        inputs = {f"{kind}_{letter}": Wanted((d_in, d)) if kind == "W" else Wanted((d,), "zeros")
                  for letter in "QKV" for kind in "Wb"}
        super().__init__(name, **inputs, W_O=Wanted((d, d)), b_O=Wanted((d,), "zeros"))
        self.heads = heads

    def forward(self, X, mask, p, rng):
        return multi_head_attention(X, **p, mask=mask, heads=self.heads)

    def backward(self, d_Y, cache):
        return multi_head_attention_backward(d_Y, cache)


class FeedForward(Step):
    """The same two layers on every token."""

    def __init__(self, name: str, d: int, d_hidden: int):
        super().__init__(name, W_1=Wanted((d, d_hidden)), b_1=Wanted((d_hidden,), "zeros"),
                         W_2=Wanted((d_hidden, d)), b_2=Wanted((d,), "zeros"))

    def forward(self, X, mask, p, rng):
        return feed_forward(X, **p)

    def backward(self, d_Y, cache):
        return feed_forward_backward(d_Y, cache)


class Norm(Step):
    """Layer norm."""

    def __init__(self, name: str, d: int):
        super().__init__(name, gain=Wanted((d,), "ones"), bias=Wanted((d,), "zeros"))

    def forward(self, X, mask, p, rng):
        return layer_norm(X, **p)

    def backward(self, d_Y, cache):
        return layer_norm_backward(d_Y, cache)


class Dropout(Step):
    """Dropout while training, nothing otherwise."""

    def __init__(self, name: str, p: float):
        super().__init__(name)
        self.p = p

    def forward(self, X, mask, p, rng):
        if rng is None or self.p == 0:
            return X, None
        return dropout(X, draw_dropout(rng, X.shape, self.p, X))

    def backward(self, d_Y, cache):
        return DropoutGrads(d_Y) if cache is None else dropout_backward(d_Y, cache)


class Residual(Step):
    """Y = X + dropout(step(X)): the step learns a change to X rather than a new X. Takes the parameters of its step."""

    def __init__(self, step: Step, p: float = 0.0):
        super().__init__(step.name, **step.wants)
        self.step = step
        self.dropout = Dropout("", p)

    def forward(self, X, mask, p, rng):
        Y, inner = self.step.forward(X, mask, p, rng)
        Y, dropped = self.dropout.forward(Y, mask, {}, rng)
        return X + Y, (inner, dropped)

    def backward(self, d_Y, cache):
        inner, dropped = cache
        grads = self.step.backward(self.dropout.backward(d_Y, dropped).d_X, inner)
        # X went two ways: straight on, and through the step
        return grads._replace(d_X=grads.d_X + d_Y)


class Entry(NamedTuple):
    """One line of a tape: a step and what its backward needs."""

    step: Step
    cache: Any


def run(
    chain: Sequence[Step], X: Array, mask: Array | None, parameters: Parameters, rng: np.random.Generator | None = None
) -> tuple[Array, list[Entry]]:
    """The chain's output, and its tape."""
    tape = []
    for step in chain:
        X, cache = step.forward(X, mask, parameters.under(step.name) if step.wants else {}, rng)
        tape.append(Entry(step, cache))
    return X, tape


def run_backward(tape: Sequence[Entry], d_X: Array, gradient: Parameters) -> None:
    """Add to `gradient` what the chain's output contributes. Below the first step with parameters there is nothing to do."""
    first = next((i for i, entry in enumerate(tape) if entry.step.wants), len(tape))
    for step, cache in reversed(tape[first + 1:]):
        grads = step.backward(d_X, cache)
        if step.wants:
            gradient.add(step.name, grads)
        d_X = grads.d_X
    for step, cache in tape[first:first + 1]:
        gradient.add(step.name, step.backward_first(d_X, cache))
