"""Optimisers: they see one flat vector θ and its gradient g, and change θ in place.

    SGD with momentum      m ← μ m + g                      θ ← θ - lr · rate ∘ (m + wd · decay ∘ θ)

    Adam (Kingma & Ba 2015)
                           m ← β₁ m + (1 - β₁) g            v ← β₂ v + (1 - β₂) g²
                           m̂ = m / (1 - β₁ᵗ)                v̂ = v / (1 - β₂ᵗ)
                           θ ← θ - lr · rate ∘ m̂ / (√v̂ + ε)
    AdamW (Loshchilov & Hutter 2019)
                           the same, and θ ← θ - lr · rate ∘ wd · decay ∘ θ beside it

`rate` is each parameter's share of the learning rate and `decay` is 1 where weights shrink, 0 where not (biases, temperatures).
"""

from __future__ import annotations

import math

from attnretrieval.backend import Array, module_of


class Optimiser:
    """State for a θ of one size. `state` is all that a checkpoint needs."""

    slots: tuple[str, ...] = ()     # names of the vectors kept beside θ

    def __init__(self, theta: Array, rate: Array | None = None, decay: Array | None = None, weight_decay: float = 0.0):
        xp = module_of(theta)
        self.rate = xp.ones_like(theta) if rate is None else rate
        # lr · shrink ∘ θ is what weight decay takes away
        self.shrink = weight_decay * self.rate * (1 if decay is None else decay)
        self.weight_decay = weight_decay
        self.steps = 0
        self.vectors = {name: xp.zeros_like(theta) for name in self.slots}

    def step(self, theta: Array, d_theta: Array, lr: float) -> None:
        """Change `theta` in place by one step along `d_theta`, which stays as it is."""
        self.steps += 1
        change = self._direction(d_theta)
        change *= self.rate
        if self.weight_decay:
            change += self.shrink * theta
        change *= lr
        theta -= change

    def _direction(self, g: Array) -> Array:
        raise NotImplementedError


class SGD(Optimiser):
    slots = ("m",)
    momentum = 0.9

    def _direction(self, g: Array) -> Array:
        m = self.vectors["m"]
        m *= self.momentum
        m += g
        return m.copy()


class AdamW(Optimiser):
    slots = ("m", "v")
    beta_1, beta_2, eps = 0.9, 0.999, 1e-8

    def _direction(self, g: Array) -> Array:
        xp = module_of(g)
        m, v = self.vectors["m"], self.vectors["v"]
        m *= self.beta_1
        m += (1 - self.beta_1) * g
        v *= self.beta_2
        square = g * g
        square *= 1 - self.beta_2
        v += square
        # √v̂ + ε, in the memory of g²
        root = xp.sqrt(v, out=square)
        root *= 1 / math.sqrt(1 - self.beta_2**self.steps)
        root += self.eps
        change = m / root
        change *= 1 / (1 - self.beta_1**self.steps)
        return change


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
