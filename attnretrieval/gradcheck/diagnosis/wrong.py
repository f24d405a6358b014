"""One wrong gradient, or one wrong output, and what a diagnosis may look at: the call, its arrays, ways to compare."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.derivatives import gradient_at, jacobian, output_at
from attnretrieval.gradcheck.paths import path_gradients, path_jacobians
from attnretrieval.gradcheck.run import Run, relative


class Diagnosis(NamedTuple):
    code: str       # short, for programs
    text: str       # a sentence, for people


@dataclass
class Wrong:
    """One wrong gradient and what a diagnosis may look at; for a wrong output, `name` is that of no input."""

    run: Run
    name: str                           # of the input that the gradient belongs to
    actual: Array
    expected: Array
    others: dict[str, Array]            # the right gradients of all inputs
    tolerance: float
    floor: float
    paths: Callable | None = None

    @property
    def d(self) -> str:
        """What is wrong, in words."""
        return f"d_{self.name}" if self.name in self.run.inputs else self.name

    @property
    def other_call(self) -> Callable[[dict[str, Any]], Array | None]:
        """Other arguments → what a right equation gives for them; None where it refuses them."""
        if self.name in self.run.inputs:
            room = self.tolerance * max(np.linalg.norm(self.actual), self.floor)
            return lambda arguments: gradient_at(self.run, self.name, arguments, self.actual, room)
        return lambda arguments: output_at(self.run, arguments)

    @property
    def error(self) -> Array:
        return self.actual - self.expected

    def explains(self, supposed: Array) -> bool:
        """What a backward with the supposed fault would give is what this one gave."""
        return supposed.shape == self.actual.shape and self.close(self.actual, supposed)

    def close(self, a: Array, b: Array) -> bool:
        return relative(a, b, self.floor) <= self.tolerance

    @cached_property
    def jacobian(self) -> Array | None:
        """d out / d x, (*out.shape, *x.shape), where there is one output and all of it is small."""
        known = len(self.run.out) == 1 and self.name in self.run.inputs
        J = jacobian(self.run, self.name) if known else None
        return None if J is None else J.reshape(self.run.out[0].shape + self.run.inputs[self.name].shape)

    def back(self, d_out: Array) -> Array:
        """Jᵀ d_out: the right gradient of x for another upstream gradient."""
        return np.tensordot(d_out, self.jacobian, axes=d_out.ndim)

    @cached_property
    def shares(self) -> dict[str, Array]:
        """The right gradient, path by path; empty where no paths are declared."""
        return path_gradients(self.run, self.by_path)

    @cached_property
    def by_path(self) -> dict[str, Array]:
        """d out / d x, path by path."""
        return {} if self.paths is None else path_jacobians(self.run, self.paths, self.name)


def nearly(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))


def factor_of(actual: Array, expected: Array) -> float | None:
    """The c for which c · expected is nearest to actual."""
    square = float((expected * expected).sum())
    return float((actual * expected).sum()) / square if square else None


def shown(indexes: list[int]) -> str:
    return ", ".join(map(str, indexes[:6])) + (", …" if len(indexes) > 6 else "")


def all_products(sizes: list[int]) -> list[int]:
    found = {math.prod(chosen) for r in range(1, len(sizes) + 1) for chosen in itertools.combinations(sizes, r)}
    return sorted(k for k in found if k > 1)


def bad_elements(wrong: Wrong) -> Array:
    """Which elements carry more than their share of the tolerance."""
    size = max(np.linalg.norm(wrong.expected), np.linalg.norm(wrong.actual), wrong.floor)
    return np.abs(wrong.error) > wrong.tolerance * size / math.sqrt(max(wrong.actual.size, 1))


def within(wrong: Wrong, here: Array) -> str:
    """What is wrong on a part: zero, a sign, a factor."""
    actual, expected = wrong.actual[here], wrong.expected[here]
    if not actual.any():
        return " (0 there)"
    if not expected.any():
        return " (0 is right there)"
    c = factor_of(actual, expected)
    part = replace(wrong, actual=actual, expected=expected)
    return f" ({c:.4g} times the right value there)" if c is not None and part.explains(c * expected) else ""


def spread_to(x: Array, shape: tuple[int, ...]) -> Array | None:
    """An array (..., n), a mask or factors, over elements (..., n) or features (..., n, d)."""
    for candidate in (x, x[..., None]):
        try:
            if np.broadcast_shapes(candidate.shape, shape) == shape:
                return np.broadcast_to(candidate, shape)
        except ValueError:
            pass
    return None


def known_arrays(wrong: Wrong) -> Iterator[tuple[str, Array]]:
    run = wrong.run
    for name, x in {**run.inputs, **run.options}.items():
        if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind in "fb":
            yield name, x.astype(float)
            if x.dtype == bool:
                yield f"the number of True in {name}", x.sum(axis=-1, keepdims=True).astype(float)
    floats = [(name, run.inputs[name]) for name in run.floats if run.inputs[name].ndim]
    for (a, x), (b, z) in itertools.combinations(floats, 2):
        if x.shape == z.shape:
            yield f"({a} - {b})", x - z
    for y in run.out:
        yield "out", y
    if hasattr(run.cache, "_asdict"):
        for name, x in run.cache._asdict().items():
            if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim:
                yield f"{name} (of the cache)", x


def variants(name: str, F: Array) -> list[tuple[str, Array]]:
    """A factor, and what the derivatives of σ, tanh and a square make of it."""
    return [(name, F), (f"(1 - {name})", 1 - F), (f"{name}²", F * F), (f"(1 - {name}²)", 1 - F * F),
            (f"{name} (1 - {name})", F * (1 - F)), (f"{name} / (1 - {name})", F / np.where(F == 1, np.nan, 1 - F))]


def combination(actual: Array, terms: list[Array], wrong: Wrong) -> Array | None:
    """The c with actual = Σ c_k term_k, where it exists and is the only one."""
    if not terms or actual.size <= len(terms):
        return None
    columns = np.stack([term.ravel() for term in terms], axis=1)
    sizes = np.linalg.norm(columns, axis=0)
    if not np.all(sizes > 0):
        return None
    c, _, rank, _ = np.linalg.lstsq(columns / sizes, actual.ravel(), rcond=1e-9)
    if rank < len(terms):
        return None
    c = c / sizes
    return c if wrong.explains((columns @ c).reshape(actual.shape)) else None
