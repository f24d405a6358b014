"""Paths: one gradient for every way in which an input reaches the output. They turn "wrong" into "the path is missing".

The chain rule adds up over all uses of an input. In a softmax, S stands above and below the line; a backward that forgets the
lower one forgets the "row term". To name the forgotten use, the equation declares its paths: a second forward in which every
use of an input is marked,

    def softmax_paths(x):
        E = exp(x("S", "numerator"))
        Z = exp(x("S", "row term of softmax")).sum(axis=-1, keepdims=True)
        return E / Z

`x(name, path)` is the input, and complex-stepped only while this one path is asked for. Then

    dL/dS = (through the numerator) + (through the row term of softmax)

and a wrong gradient that equals 1 · the first + 0 · the second says what was forgotten. Arguments that have no gradient (masks,
options) are keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.derivatives import COMPLEX_STEP, units
from attnretrieval.gradcheck.run import Run, is_float, parts, step


def path_gradients(run: Run, paths: Callable) -> dict[str, dict[str, Array]]:
    """input → path → its share of dL/dx."""
    rest = {name: x for name, x in {**run.inputs, **run.options}.items() if name not in run.floats and x is not None}
    marks: dict[tuple[str, str], None] = {}

    def listen(name: str, path: str = "") -> Array | None:
        marks[name, path] = None
        return run.inputs.get(name)

    paths(listen, **rest)
    shares: dict[str, dict[str, Array]] = {}
    for name, path in marks:
        x = run.inputs.get(name)
        if not is_float(x):
            continue
        share = shares.setdefault(name, {})[path] = np.empty(x.shape)
        for i, v in units(x.shape):
            share[i] = _loss(run, paths, rest, name, path, step(x, COMPLEX_STEP * 1j, v)).imag / COMPLEX_STEP
    return shares


def _loss(run: Run, paths: Callable, rest: dict[str, Any], name: str, path: str, stepped: Array) -> complex:
    def use(name_: str, path_: str = "") -> Array | None:
        if (name_, path_) == (name, path):
            return stepped
        x = run.inputs.get(name_)
        return x.astype(np.complex128) if is_float(x) else x

    return sum((d * y).sum() for d, y in zip(run.d_out, parts(paths(use, **rest)), strict=True))
