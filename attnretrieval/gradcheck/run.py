"""One call of a forward and its backward, and what is needed to make more of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.calls import call_backward, call_forward, no_answer

MOST = 1e9                  # a gradient that is smaller than usual by more cannot be told from rounding


@dataclass
class Run:
    """One forward and one backward in float64, and everything a check needs to do more of them."""

    given_forward: Callable     # as they came; checks call `forward` and `backward`, which look at the answer too
    given_backward: Callable
    inputs: dict[str, Any]
    options: dict[str, Any]
    rng: np.random.Generator
    out: tuple[Array, ...] = ()
    build: Callable = tuple     # puts a list of arrays into the form of out
    d_out: tuple[Array, ...] = ()
    grads: dict[str, Array | None] = field(default_factory=dict)
    cache: Any = None
    notes: list[str] = field(default_factory=list)
    usual: float = 0.0          # the size of the gradient where nothing is saturated, and that of each output:
    usual_out: tuple[float, ...] = ()       # see saturation.py
    exact: bool = False         # the forward has a complex-step derivative, and it is the only right one (no tie)

    @property
    def floats(self) -> list[str]:
        """The inputs that have a gradient."""
        return [name for name, x in self.inputs.items() if is_float(x)]

    @property
    def present(self) -> list[tuple[str, Array]]:
        """The gradients of floating inputs that the backward returned."""
        return [(name, self.grads[name]) for name in self.floats if self.grads.get(name) is not None]

    @property
    def here(self) -> float:
        """The norm of the largest gradient."""
        return max((float(np.linalg.norm(d_x)) for _, d_x in self.present), default=0.0)

    @property
    def largest(self) -> float:
        """The norm of the largest gradient, here or where nothing is saturated: what is tiny beside it is rounding."""
        return at_least(self.here, self.usual)

    def same_outputs(self, outs: tuple[Array, ...], tolerance: float) -> list[bool]:
        """Which of these outputs are those of the run, to this tolerance."""
        sizes = [at_least(float(np.linalg.norm(y)), usual) for y, usual in zip(self.out, self.usual_out, strict=True)]
        return [relative(y, mine, 1e-3 * size) <= tolerance for y, mine, size in zip(outs, self.out, sizes, strict=True)]

    def forward(self, **arguments: Any) -> tuple[Any, Any]:
        """One forward: (out, cache). Every call has inputs of the same shapes, so its outputs have the shapes of the first."""
        out, cache = call_forward(self.given_forward, arguments)
        shapes, first = ([y.shape for y in arrays] for arrays in (parts(out), self.out))
        if self.out and shapes != first:
            raise no_answer(f"the forward gave an output of shape {_listed(first)} and, for inputs of the same shapes, one of "
                            f"{_listed(shapes)}")
        return out, cache

    def backward(self, d_out: Sequence[Array], cache: Any) -> dict[str, Array | None]:
        """One backward: input → gradient, None where there is none. Its shapes are those of the first, as in `forward`."""
        grads = call_backward(self.given_backward, self.build(d_out), cache, self.floats)
        for name, d_x in self.grads.items():
            first, now = ("None" if d is None else f"of shape {d.shape}" for d in (d_x, grads.get(name)))
            if first != now:
                raise no_answer(f"the backward gave a d_{name} that is {first} and, for inputs of the same shapes, "
                                f"one that is {now}")
        return grads

    def outputs(self, inputs: Mapping[str, Any]) -> tuple[Array, ...]:
        return parts(self.forward(**inputs, **self.options)[0])

    def arguments(self) -> dict[str, Any]:
        """The arguments of a forward, every array a copy: what a call does to them stays with that call."""
        return {name: copy_of(x) for name, x in {**self.inputs, **self.options}.items()}

    def gradients(self, cache: Any, d_out: tuple[Array, ...] | None = None) -> dict[str, Array | None]:
        """What the backward gives for this upstream gradient; without one, for that of the run."""
        return numbers(self.backward([d.copy() for d in d_out or self.d_out], cache))

    def loss(self, inputs: Mapping[str, Any]) -> complex | float:
        """L = Σ d_out ∘ out."""
        return sum((d * y).sum() for d, y in zip(self.d_out, self.outputs(inputs), strict=True))


def start(forward: Callable, backward: Callable, inputs: Mapping[str, Any], options: dict, rng: np.random.Generator) -> Run:
    """The first forward and backward, in float64, with a random upstream gradient."""
    for name, x in inputs.items():
        if x is not None and not isinstance(x, np.ndarray):
            raise TypeError(f"inputs[{name!r}] is a {type(x).__name__}, expected a NumPy array or None; "
                            "numbers and names go to options, CuPy arrays come back with backend.to_host")
    inputs = {name: x.astype(np.float64) if is_float(x) else x for name, x in inputs.items()}
    run = Run(forward, backward, inputs, options, rng)
    out, run.cache = run.forward(**run.arguments())
    run.out, run.build = tuple(y.copy() for y in parts(out)), builder(out)
    run.usual_out = (0.0,) * len(run.out)
    run.d_out = tuple(rng.normal(size=y.shape) for y in run.out)
    grads = run.gradients(run.cache)
    if any(y.dtype.kind == "c" for y in run.out):
        raise no_answer("the forward gave complex numbers for real inputs")
    for name, d_x in grads.items():
        if d_x is not None and d_x.dtype.kind == "c":
            raise no_answer(f"the backward gave complex numbers as d_{name}, and all that it was given is real")
    run.grads = {name: copy_of(d_x) for name, d_x in grads.items()}
    return run


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))


def at_least(here: float, usual: float) -> float:
    """The larger of the two; `usual` counts up to MOST times what is here, so that no exact small number goes unjudged."""
    return max(here, min(usual, MOST * here))


def copy_of(x: Any) -> Any:
    return x.copy() if isinstance(x, np.ndarray) else x


def step(x: Array, by: complex, v: Array) -> Array:
    """x + by · v, still an array where x has no axes (NumPy would make it a number)."""
    return np.asarray(x + by * v)


def is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


def parts(out: Any) -> tuple[Array, ...]:
    """The arrays of an output, whether it is one array or a tuple of them."""
    return tuple(np.asarray(y) for y in out) if isinstance(out, tuple) else (np.asarray(out),)


def builder(out: Any) -> Callable:
    if not isinstance(out, tuple):
        return lambda arrays: arrays[0]
    return type(out)._make if hasattr(out, "_make") else tuple


def numbers(grads: dict[str, Array | None]) -> dict[str, Array | None]:
    """The values of gradients, also where they came as booleans or integers: check_dtypes names those."""
    return {name: d_x.astype(np.float64) if d_x is not None and d_x.dtype.kind in "biu" else d_x for name, d_x in grads.items()}


def relative(actual: Array, expected: Array, floor: float = 0.0) -> float:
    """The norm-wise relative error; nan where a value is not finite."""
    size = max(np.linalg.norm(actual), np.linalg.norm(expected), floor)
    with np.errstate(invalid="ignore"):     # ∞ - ∞ and ∞ / ∞ are the nan that is meant
        return float(np.linalg.norm(actual - expected) / size) if size != 0 else 0.0
