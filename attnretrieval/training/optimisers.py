"""Optimisers: they see one flat vector θ and its gradient g, and change θ in place.

    SGD with momentum      m ← μ m + g                      θ ← θ - lr · rate ∘ (m + wd · decay ∘ θ)

    Adam (Kingma & Ba 2015)
                           m ← β₁ m + (1 - β₁) g            v ← β₂ v + (1 - β₂) g²
                           m̂ = m / (1 - β₁ᵗ)                v̂ = v / (1 - β₂ᵗ)
                           θ ← θ - lr · rate ∘ m̂ / (√v̂ + ε)
    AdamW (Loshchilov & Hutter 2019)
                           the same, and θ ← θ - lr · rate ∘ wd · decay ∘ θ beside it

`rate` is each parameter's share of the learning rate and `decay` is 1 where weights shrink, 0 where not (biases, temperatures).

A step reads and writes vectors of millions of numbers, so what counts is how often it passes over one: it goes through them in
pieces that stay in the cache over all operations. All constant factors of Adam are taken out of the vectors and meet in two
numbers:

    M = m / (1 - β₁)       M ← β₁ M + g                     U = v / (1 - β₂)        U ← β₂ U + g²
    m̂ = a M                a = (1 - β₁) / (1 - β₁ᵗ)         √v̂ = b √U               b = √((1 - β₂) / (1 - β₂ᵗ))
    m̂ / (√v̂ + ε) = (a / b) M / (√U + ε / b)
"""

from __future__ import annotations

import math

from attnretrieval.backend import Array, module_of
from attnretrieval.blocks import spans
from attnretrieval.fast.threads import share

PIECE = 1 << 18                     # numbers of θ that are worked on at once


class Optimiser:
    """State for a θ of one size. `vectors` and `steps` are all that a checkpoint needs. `rate=None` stands for 1 everywhere."""

    slots: tuple[str, ...] = ()     # names of the vectors kept beside θ

    def __init__(self, theta: Array, rate: Array | None = None, decay: Array | None = None, weight_decay: float = 0.0):
        xp = module_of(theta)
        self.rate = rate
        self.shrink = None          # lr · shrink ∘ θ is what weight decay takes away
        if weight_decay:
            self.shrink = weight_decay * (xp.ones_like(theta) if decay is None else decay)
            if rate is not None:
                self.shrink *= rate
        self.steps = 0
        self.vectors = {name: xp.zeros_like(theta) for name in self.slots}

    def step(self, theta: Array, d_theta: Array, lr: float) -> None:
        """Change `theta` in place by one step along `d_theta`, which stays as it is."""
        self.steps += 1
        share(lambda part: self._step(theta[part], d_theta[part], lr, part), spans(len(theta), PIECE))

    def _step(self, theta: Array, d_theta: Array, lr: float, part: slice) -> None:
        change, factor = self._direction(d_theta, *(self.vectors[name][part] for name in self.slots))
        change *= factor * lr
        if self.rate is not None:
            change *= self.rate[part]
        if self.shrink is not None:
            shrunk = self.shrink[part] * theta
            shrunk *= lr
            change += shrunk
        theta -= change

    def _direction(self, g: Array, *vectors: Array) -> tuple[Array, float]:
        """A new vector and the number that it is yet to be multiplied with; changes the slots' `vectors` in place."""
        raise NotImplementedError


class SGD(Optimiser):
    slots = ("m",)
    momentum = 0.9

    def _direction(self, g: Array, m: Array) -> tuple[Array, float]:
        m *= self.momentum
        m += g
        return m.copy(), 1.0


class AdamW(Optimiser):
    slots = ("M", "U")
    beta_1, beta_2, eps = 0.9, 0.999, 1e-8

    def _direction(self, g: Array, M: Array, U: Array) -> tuple[Array, float]:
        xp = module_of(g)
        a = (1 - self.beta_1) / (1 - self.beta_1**self.steps)
        b = math.sqrt((1 - self.beta_2) / (1 - self.beta_2**self.steps))
        M *= self.beta_1
        M += g
        change = g * g
        U *= self.beta_2
        U += change
        # √U + ε / b and then the quotient, in the memory of g²
        xp.sqrt(U, out=change)
        change += self.eps / b
        xp.divide(M, change, out=change)
        return change, a / b


class Adam(AdamW):
    """As AdamW, for those who name it: without weight decay the two are one."""

    def __init__(self, theta: Array, rate: Array | None = None, decay: Array | None = None, weight_decay: float = 0.0):
        if weight_decay:
            raise ValueError('optimiser="adam" has no weight decay; use "adamw" or weight_decay=0')
        super().__init__(theta, rate, decay)


OPTIMISERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def clip_gradient(d_theta: Array, max_norm: float) -> float:
    """Shorten `d_theta` in place to length `max_norm` where it is longer (0 = never); its length before."""
    norm = math.sqrt(float(d_theta @ d_theta))
    if max_norm and norm > max_norm:
        d_theta *= max_norm / norm
    return norm
