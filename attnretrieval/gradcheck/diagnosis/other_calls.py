"""What another call would give: a mask forgotten, an input left out, two inputs exchanged.

Wrong code is often the right code of another call. A backward that computes the weights once more and forgets the mask gives
exactly the gradient of the call without a mask; one that reshapes V where it must be transposed gives that of a scrambled V.
So each call here differs from the true one in one argument, and the right answer to it is held against what came.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, nearly
from attnretrieval.gradcheck.run import Run, is_float

ROLLS = 6                   # places by which an input is moved
TOO_MANY = 400              # elements of a gradient: each takes one forward for every other call


class OtherCall(NamedTuple):
    code: str
    text: str               # "d_Q is what ... would give"
    arguments: dict[str, Any]


def other_call(wrong: Wrong) -> Diagnosis | None:
    if not 1 < wrong.expected.size <= TOO_MANY and wrong.name in wrong.run.inputs:
        return None
    for code, text, arguments in other_calls(wrong):
        supposed = wrong.other_call(arguments)
        if supposed is None or supposed.shape != wrong.expected.shape or wrong.close(supposed, wrong.expected):
            continue
        if wrong.explains(supposed):
            return Diagnosis(code, f"{wrong.d} is what {text} would give")
    return None


def other_calls(wrong: Wrong) -> Iterator[OtherCall]:
    """One argument changed at a time; the likeliest first."""
    run = wrong.run
    yield from _masks(run)
    yield from _options(run)
    yield from _inputs(run, wrong.name)
    yield from _exchanged(run)
    yield from _scaled(run, wrong.name)


def _call(run: Run, code: str, text: str, **changed: Any) -> OtherCall:
    arrays = {name: np.asarray(x) if isinstance(x, np.generic) else x for name, x in changed.items()}    # 0 · x of no axes
    return OtherCall(code, text, {**run.inputs, **run.options, **arrays})


def _masks(run: Run) -> Iterator[OtherCall]:
    for name, x in {**run.inputs, **run.options}.items():
        if isinstance(x, np.ndarray) and x.dtype == bool:
            yield _call(run, "mask forgotten", f"a {name} of True alone (is {name} forgotten?)", **{name: np.ones_like(x)})
            yield _call(run, "mask inverted", f"the opposite of {name}", **{name: ~x})
            for axis in range(x.ndim):
                yield _call(run, "mask in the wrong place", f"{name}, reversed along axis {axis}", **{name: np.flip(x, axis)})


def _options(run: Run) -> Iterator[OtherCall]:
    parameters = inspect.signature(run.given_forward).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name not in run.inputs}
    for name, value in {**defaults, **run.options}.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        for other in dict.fromkeys((0, 1, 2 * value, value / 2, -value, value * value)):
            if other != value and (isinstance(value, float) or other == int(other)):
                code = f"sign of {name}" if other == -value else f"another {name}"
                yield _call(run, code, f"{name}={other:.4g} instead of {value:.4g}", **{name: type(value)(other)})


def _inputs(run: Run, mine: str) -> Iterator[OtherCall]:
    for name, x in run.inputs.items():
        if x is None or name == mine:
            continue
        if x.dtype.kind in "iu":
            for by in (1, -1):
                yield _call(run, f"{name} shifted", f"{name}, moved by {by} place", **{name: np.roll(x, by, axis=-1)})
        elif is_float(x):
            yield _call(run, f"{name} left out", f"{name} = 0 (is {name} left out?)", **{name: 0 * x})
            yield _call(run, f"sign of {name}", f"-{name}", **{name: -x})
            if x.ndim > 1:
                turned = np.ascontiguousarray(x.swapaxes(-1, -2))
                if turned.shape == x.shape:
                    yield _call(run, f"{name} transposed", f"the transpose of {name}", **{name: turned})
                # code that wants Xᵀ and takes reshape(X): the X whose transpose is that
                scrambled = x.reshape(turned.shape).swapaxes(-1, -2)
                yield _call(run, f"{name} reshaped", f"an {name} of which the transpose is reshape({name}) (a reshape where "
                                                     "axes must be exchanged?)", **{name: scrambled})
            for axis in range(x.ndim):
                if x.shape[axis] > 1:
                    yield _call(run, f"{name} permuted", f"{name}, reversed along axis {axis}", **{name: np.flip(x, axis)})
                    for by in range(1, min(x.shape[axis], ROLLS)):
                        yield _call(run, f"{name} permuted", f"{name}, moved by {by} along axis {axis}",
                                    **{name: np.roll(x, -by, axis)})
                    same = np.broadcast_to(np.take(x, [0], axis), x.shape).copy()
                    yield _call(run, f"{name} not all used", f"the first slice of {name} along axis {axis}, repeated",
                                **{name: same})


def _exchanged(run: Run) -> Iterator[OtherCall]:
    for a, b in itertools.combinations(run.floats, 2):
        x, z = run.inputs[a], run.inputs[b]
        if x.ndim and (x.ndim == z.ndim or x.shape == z.shape):
            yield _call(run, f"{a} and {b} exchanged", f"{b} in the place of {a}, and the other way round", **{a: z, b: x})
        if x.ndim and x.shape == z.shape:
            yield _call(run, f"{b} for {a}", f"{b} in the place of {a}", **{a: z})
            yield _call(run, f"{a} for {b}", f"{a} in the place of {b}", **{b: x})


def _scaled(run: Run, mine: str) -> Iterator[OtherCall]:
    """An input times a number that the sizes of the call suggest: 1/√d for 1/d, a factor there twice, or missing."""
    heads = [run.options["heads"]] if isinstance(run.options.get("heads"), int) else []
    shapes = [run.inputs[name].shape for name in run.floats]
    sizes = {size for shape in shapes for size in shape if size > 1}
    sizes |= {size // h for size in set(sizes) for h in heads if size % h == 0 and size > h} | {h for h in heads if h > 1}
    factors: dict[float, str] = {}      # the first text that explains a number stays
    for size in sorted(sizes):
        factors.setdefault(math.sqrt(size), f"√{size} · {{}} (is a 1/√{size} missing?)")
        factors.setdefault(1 / math.sqrt(size), f"1/√{size} · {{}} (is a 1/√{size} there twice?)")
    for size in sorted({*sizes, 2}):
        factors.setdefault(float(size), f"{size} · {{}}")
        factors.setdefault(1 / size, f"1/{size} · {{}}")
    for name in run.floats:
        x = run.inputs[name]
        if name == mine:
            continue
        if not x.ndim:                          # a logarithm: exp(x) is the number that the equation uses
            yield _call(run, f"{name} scaled", f"exp({name}) squared", **{name: 2 * x})
            yield _call(run, f"{name} scaled", f"exp({name}) = 1", **{name: 0 * x})
            continue
        for c, text in factors.items():
            if not nearly(c, 1):
                yield _call(run, f"{name} scaled", text.format(name), **{name: c * x})
