"""Parameters: named views into one flat vector.

An optimiser sees one vector and knows no names; an equation sees `parameters["text.attention.W_Q"]` and knows no vector.
Both are the same memory. The gradient is a second `Parameters` of the same names, filled by the backward passes.

Parameters lie one after the other, but for W_Q, W_K and W_V of one step: these lie side by side, as the columns of one matrix,
so that X W_Q, X W_K and X W_V can be one product without a copy (fast/self_attention.py). Files do not know that: `listed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of
from attnretrieval.fast.threads import rows_together, share
from attnretrieval.shapes import ShapeError


class Wanted(NamedTuple):
    """What a step of the chain asks for: a shape, and how its values are drawn at the start."""

    shape: tuple[int, ...]
    start: str = "fan_in"       # one of STARTS
    value: float = 0.0          # for start="value"


def _fan_in(rng: np.random.Generator, wanted: Wanted) -> np.ndarray:
    """Uniform in ±1/√(fan in), a third of the variance that would keep the scale (LeCun et al. 1998).

    Larger start weights are noise that training never quite removes; smaller ones let it learn the images by heart. On
    Flickr8k with word pieces and pca = 512, validation rsum: 254 with Glorot's and 277 with these after 6 epochs; 270 with ones
    a quarter as large and 279 with these after 7, with more dropout.
    """
    limit = 1 / math.sqrt(wanted.shape[0])
    return rng.uniform(-limit, limit, wanted.shape)


STARTS = {
    "fan_in": _fan_in,
    "zeros": lambda rng, wanted: np.zeros(wanted.shape),
    "ones": lambda rng, wanted: np.ones(wanted.shape),
    "small": lambda rng, wanted: rng.normal(0, 0.02, wanted.shape),
    "value": lambda rng, wanted: np.full(wanted.shape, wanted.value),
}


class Parameters:
    """A mapping from names to views of `flat`."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], flat: Array):
        size = sum(math.prod(shape) for shape in shapes.values())
        if flat.shape != (size,):
            raise ShapeError(f"the flat vector has shape {flat.shape}, but the {len(shapes)} parameters need ({size},)")
        self.shapes = dict(shapes)
        self.flat = flat
        self._views = dict.fromkeys(shapes)
        self._under: dict[str, dict[str, Array]] = {}
        start = 0
        for names in _neighbours(shapes):
            end = start + sum(math.prod(shapes[name]) for name in names)
            block = flat[start:end]
            if len(names) == 1:
                self._views[names[0]] = block.reshape(shapes[names[0]])
            else:
                block, column = block.reshape(shapes[names[0]][0], -1), 0
                for name in names:
                    self._views[name] = block[:, column:column + shapes[name][1]]
                    column += shapes[name][1]
            start = end

    @classmethod
    def draw(cls, wanted: dict[str, Wanted], rng: np.random.Generator, dtype: str = "float32") -> Parameters:
        """Start values, drawn in the order of the names."""
        shapes = {name: want.shape for name, want in wanted.items()}
        drawn = cls(shapes, np.empty(sum(map(math.prod, shapes.values())), dtype))
        for name, want in wanted.items():
            drawn[name][...] = STARTS[want.start](rng, want)
        return drawn

    @classmethod
    def from_listed(cls, shapes: dict[str, tuple[int, ...]], numbers: Array) -> Parameters:
        """From what `listed` gave."""
        made, start = cls(shapes, module_of(numbers).empty_like(numbers)), 0
        for name, shape in shapes.items():
            end = start + math.prod(shape)
            made[name][...] = numbers[start:end].reshape(shape)
            start = end
        return made

    def listed(self) -> Array:
        """All numbers in the order of the names, each parameter row by row: a copy, for files."""
        return module_of(self.flat).concatenate([view.reshape(-1) for view in self._views.values()])

    def like(self, flat: Array) -> Parameters:
        """The same names for another vector."""
        return Parameters(self.shapes, flat)

    def zeros_like(self) -> Parameters:
        """A gradient for these parameters, all zero."""
        return self.like(module_of(self.flat).zeros_like(self.flat))

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def under(self, prefix: str) -> dict[str, Array]:
        """The parameters of one step, by their names in its equation: "fuse_t" gives {"W": ..., "b": ...}."""
        if prefix not in self._under:
            start = prefix + "."
            self._under[prefix] = {name[len(start):]: view for name, view in self._views.items() if name.startswith(start)}
        return self._under[prefix]

    def add(self, prefix: str, grads: NamedTuple) -> None:
        """Add the fields d_<name> of an equation's gradients to the parameters under `prefix`."""
        pieces = []
        for name, view in self.under(prefix).items():
            pieces += rows_together(view, getattr(grads, f"d_{name}"))
        share(_add, pieces)


def _neighbours(shapes: dict[str, tuple[int, ...]]) -> list[list[str]]:
    """The names in the order of the flat vector; together those that lie side by side."""
    found, placed = [], set()
    for name, shape in shapes.items():
        if name in placed:
            continue
        together = [name[:-1] + letter for letter in "QKV"] if name.endswith("W_Q") else [name]
        if any(len(shapes.get(other, ())) != 2 or shapes[other][0] != shape[0] for other in together[1:]):
            together = [name]
        found.append(together)
        placed.update(together)
    return found


def _add(piece: tuple[Array, Array]) -> None:
    view, more = piece
    view += more
