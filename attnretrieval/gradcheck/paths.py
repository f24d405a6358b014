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


def path_jacobians(run: Run, paths: Callable, name: str) -> dict[str, Array]:
    """path → d out / d x through this path alone, (outputs, *x.shape)."""
    rest = {key: x for key, x in {**run.inputs, **run.options}.items() if key not in run.floats and x is not None}
    x = run.inputs[name]
    found = {}
    for path in _marks(run, paths, rest).get(name, ()):
        columns = [_flat(_outputs(run, paths, rest, (name, path), step(x, COMPLEX_STEP * 1j, v))) for _, v in units(x.shape)]
        outputs = sum(y.size for y in run.out)
        found[path] = (np.imag(columns) / COMPLEX_STEP).reshape(x.size, outputs).T.reshape(outputs, *x.shape)
    return found


def path_gradients(run: Run, jacobians: dict[str, Array]) -> dict[str, Array]:
    """path → its share of dL/dx, from what `path_jacobians` found."""
    u = _flat(run.d_out)
    return {path: np.tensordot(u, J, axes=1) for path, J in jacobians.items()}


def _flat(arrays: tuple[Array, ...]) -> Array:
    return np.concatenate([np.ravel(y) for y in arrays])


def _marks(run: Run, paths: Callable, rest: dict[str, Any]) -> dict[str, dict[str, None]]:
    """input → the paths with which the function asks for it."""
    marks: dict[str, dict[str, None]] = {}

    def listen(name: str, path: str = "") -> Array | None:
        marks.setdefault(name, {})[path] = None
        return run.inputs.get(name)

    paths(listen, **rest)
    return marks


def _outputs(run: Run, paths: Callable, rest: dict[str, Any], marked: tuple[str, str], stepped: Array) -> tuple[Array, ...]:
    def use(name: str, path: str = "") -> Array | None:
        if (name, path) == marked:
            return stepped
        x = run.inputs.get(name)
        return x.astype(np.complex128) if is_float(x) else x

    return parts(paths(use, **rest))
