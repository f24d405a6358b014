"""Checks on shapes, dtypes and masks, with messages that teach.

Every public function checks its input once, at the door, through these. A message says what came, what was expected and
what to do. Nothing here computes anything.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from attnretrieval.backend import Array, is_array, module_of


class ShapeError(ValueError):
    """An array's shape, dtype or content does not fit the equation."""


def check_array(name: str, x: Any, ndim: int | None = None, min_ndim: int | None = None) -> None:
    """`x` is a real or complex floating-point array with this number of axes."""
    if not is_array(x):
        raise ShapeError(f"{name} is a {type(x).__name__}, expected an array; use numpy.asarray(..., dtype=float32)")
    if x.dtype.kind not in "fc":
        raise ShapeError(f"{name} has dtype {x.dtype}, expected floats; use {name}.astype('float32')")
    if ndim is not None and x.ndim != ndim:
        raise ShapeError(f"{name} has shape {x.shape}, expected {ndim} axes")
    if min_ndim is not None and x.ndim < min_ndim:
        raise ShapeError(f"{name} has shape {x.shape}, expected at least {min_ndim} axes")


def check_same_size(name_a: str, a: Array, axis_a: int, name_b: str, b: Array, axis_b: int, hint: str = "") -> None:
    """Axis `axis_a` of `a` is as long as axis `axis_b` of `b`."""
    if a.shape[axis_a] != b.shape[axis_b]:
        raise ShapeError(
            f"{name_a} has shape {a.shape} and {name_b} has shape {b.shape}: "
            f"axis {axis_a} of {name_a} ({a.shape[axis_a]}) must equal axis {axis_b} of {name_b} ({b.shape[axis_b]})"
            + (f"; {hint}" if hint else "")
        )


def check_shape(name: str, x: Any, shape: tuple[int, ...], hint: str = "") -> None:
    """`x` is a floating-point array of exactly this shape."""
    check_array(name, x)
    if x.shape != shape:
        raise ShapeError(f"{name} has shape {x.shape}, expected {shape}" + (f"; {hint}" if hint else ""))


def check_mask(name: str, mask: Any, shape: tuple[int, ...]) -> None:
    """`mask` is None or a boolean array that broadcasts to `shape`; True marks a real word or region."""
    if mask is None:
        return
    if not is_array(mask) or mask.dtype != bool:
        came = f"dtype {mask.dtype}" if is_array(mask) else type(mask).__name__
        raise ShapeError(f"{name} is {came}, expected a boolean array (True = real, False = padding)")
    if mask.shape == shape:
        return
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{name} has shape {mask.shape}, which does not broadcast to {shape}")


def check_finite(name: str, x: Array) -> None:
    """No NaN and no infinity in `x`; says where the first one is."""
    flat = x.reshape(-1)
    if math.isfinite(abs(complex(flat @ flat))):        # one product: a sum of squares is finite only where every x is
        return
    finite = module_of(x).isfinite(x)
    if not bool(finite.all()):
        first = tuple(int(i[0]) for i in (~finite).nonzero())
        raise ShapeError(f"{name} holds {int((~finite).sum())} values that are NaN or infinite, the first at {first}")


def check_positives(S: Any, positives: Any) -> None:
    """`S` (C, I) holds a score for every caption and image; `positives` (C, I) bool says which pairs are right."""
    check_array("S", S, ndim=2)
    check_mask("positives", positives, S.shape)
    if positives is None or positives.shape != S.shape:
        raise ShapeError(f"positives must have the shape of S, {S.shape}: True where the caption describes the image")
    if not bool(positives.any()):
        raise ShapeError("positives has no True: the batch holds no caption together with its image")


def check_choice(name: str, value: Any, choices: Any) -> None:
    """`value` is one of the names that `choices` lists."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(str, choices))}{did_you_mean(value, choices)}")


def did_you_mean(value: Any, choices: Iterable[Any]) -> str:
    """"; did you mean 'softmax'?", or nothing where no choice looks like the value."""
    close = difflib.get_close_matches(str(value), map(str, choices), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_range(name: str, value: float, least: float, below: float = math.inf) -> None:
    """`value` is a number from `least` on and smaller than `below`."""
    if not (isinstance(value, Real) and least <= value < below):
        raise ValueError(f"{name}={value!r} is not a number from {least}" + ("" if below == math.inf else f" to below {below}"))
