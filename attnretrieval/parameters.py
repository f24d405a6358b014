"""Parameters: named views into one flat vector.

An optimiser sees one vector and knows no names; an equation sees `parameters["text.attention.W_Q"]` and knows no vector.
Both are the same memory. The gradient is a second `Parameters` of the same names, filled by the backward passes.

Parameters lie one after the other, but for W_Q, W_K and W_V of one step: these lie side by side, as the columns of one matrix,
so that X W_Q, X W_K and X W_V can be one product without a copy (fast/self_attention.py). Files do not know that: `listed`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array, module_of
from attnretrieval.fast.threads import rows_together, share
from attnretrieval.shapes import ShapeError

LARGE = 1 << 15                         # numbers of a parameter that is worth looking for its neighbours, and for threads


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
        self._views: dict[str, Array] = {}
        self._under: dict[str, dict[str, Array]] = {}
        for name, numbers, shape, columns in _places(tuple((name, tuple(shape)) for name, shape in shapes.items())):
            block = flat[numbers].reshape(shape)
            self._views[name] = block if columns is None else block[:, columns]

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
        pairs = [(view, getattr(grads, f"d_{name}")) for name, view in self.under(prefix).items()]
        large = []
        for pair in pairs:
            if pair[0].size < LARGE:
                _add(pair)
            else:
                large.append(pair)
        share(_add, [rows for pair in _joined(large) for rows in rows_together(*pair)])


def side_by_side(*matrices: Array) -> Array | None:
    """The matrix that has the columns of all of these, where they are large and lie so in memory: a view."""
    W = matrices[0]
    if W.size < LARGE or not isinstance(W, np.ndarray) or any(X.ndim != 2 for X in matrices):
        return None
    starts = [X.__array_interface__["data"][0] for X in matrices]
    ends = [start + X.shape[1] * X.itemsize for start, X in zip(starts, matrices, strict=True)]
    alike = len({(len(X), X.dtype, X.strides) for X in matrices}) == 1
    if not alike or starts[1:] != ends[:-1] or W.strides[1] != W.itemsize or ends[-1] - starts[0] > W.strides[0]:
        return None
    return np.lib.stride_tricks.as_strided(W, (len(W), sum(X.shape[1] for X in matrices)))


def _joined(pairs: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
    """W_Q, W_K and W_V, the first of a step, as one matrix where they and their gradients are one: thrice as fast to add."""
    if len(pairs) > 2:
        views, gradients = (side_by_side(*matrices) for matrices in zip(*pairs[:3], strict=True))
        if views is not None and gradients is not None:
            return [(views, gradients), *pairs[3:]]
    return pairs


def _add(pair: tuple[Array, Array]) -> None:
    view, more = pair
    view += more


class Place(NamedTuple):
    """Where a parameter lies in the flat vector."""

    name: str
    numbers: slice                      # of the flat vector
    shape: tuple[int, ...]              # of these
    columns: slice | None               # that are the parameter; None: all


@lru_cache
def _places(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> list[Place]:
    """In the order of the names."""
    found: dict[str, Place | None] = dict.fromkeys(name for name, _ in shapes)
    shape_of, start = dict(shapes), 0
    for name, shape in shapes:
        if found[name] is not None:
            continue
        together = [name[:-1] + letter for letter in "QKV"] if name.endswith("W_Q") else []
        others = [shape_of.get(other, ()) for other in together]
        if not all(len(other) == 2 and other[0] == shape[0] for other in others) or any(found[other] for other in together):
            together = []
        if together:
            width = sum(other[1] for other in others)
            numbers, column = slice(start, start + shape[0] * width), 0
            for other in together:
                columns = slice(column, column + shape_of[other][1])
                found[other], column = Place(other, numbers, (shape[0], width), columns), columns.stop
        else:
            numbers = slice(start, start + math.prod(shape))
            found[name] = Place(name, numbers, shape, None)
        start = numbers.stop
    return list(found.values())
