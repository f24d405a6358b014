"""Two derivatives of a forward that share no idea: what a backward is held against.

    complex step       dL/dx = Im L(x + ih) / h, h = 1e-30               exact to rounding: nothing is subtracted
    central, 5 points  dL/dx = (-L(x+2h) + 8 L(x+h) - 8 L(x-h) + L(x-2h)) / 12h        right to about h⁴

Why two. The complex step is exact but believes the forward: abs, norm and conj are not what they seem on complex numbers, and
an `if np.iscomplexobj` can fool it. The difference uses real numbers alone. Where they disagree the difference is right, or x
lies on a kink.

No single h suits every function (one that bends within 1e-6, or has a kink 1e-4 away, wants a small one; rounding wants a large
one). So h falls tenfold until two neighbours agree, and the pair that agrees best is taken.

Inputs up to `limit` elements are differentiated element by element. Larger ones along random directions, which see every
element at once, and at a random subset of single elements, which say where. With v normal, <d_x, v> is normal with deviation
‖d_x‖, so the root mean square of <d_x - dL/dx, v> estimates ‖d_x - dL/dx‖, the same error that all elements would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.calls import Broken
from attnretrieval.gradcheck.run import Run, copy_of, is_float, parts, relative, step

COMPLEX_STEP = 1e-30
DIFFERENCE_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
STEADY = 1e-9               # two neighbouring steps agree
ROUNDING = 1e-12
DIRECTIONS = 8              # along which a large input is differentiated
SINGLES = 48                # elements of a large input that are looked at one by one


class Slopes(NamedTuple):
    """dL/dx of one input: at every element (`index` is None), or at some of them and along directions."""

    values: Array                       # of the input's shape, or one a sampled element
    index: tuple[Array, ...] | None     # the sampled elements, as NumPy indexes
    directions: Array | None            # (k, *shape)
    along: Array | None                 # (k,) the slope along each

    def of(self, d_x: Array) -> Array:
        """The elements of a gradient that `values` speaks of."""
        return d_x if self.index is None else d_x[self.index]

    def error(self, d_x: Array, floor: float) -> float:
        """The norm-wise relative error of a gradient."""
        share = np.sqrt(self.values.size / max(d_x.size, 1))           # of the floor: 1 where all elements are known
        error = relative(self.of(d_x), self.values, floor * share)
        if self.directions is None:
            return error
        missed = _inner(self.directions, d_x) - self.along
        size = max(np.linalg.norm(d_x), rms(self.along), floor)
        return max(error, float(rms(missed) / size)) if size else error

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.values) if self.index is None else rms(self.along))


def rms(x: Array) -> float:
    return float(np.sqrt(np.mean(x * x))) if x.size else 0.0


def _inner(directions: Array, d_x: Array) -> Array:
    return directions.reshape(len(directions), -1) @ d_x.reshape(-1)


class Places(NamedTuple):
    """Where one input is differentiated: the same places for both derivatives."""

    index: tuple[Array, ...] | None
    directions: Array | None


def choose_places(run: Run, limit: int) -> dict[str, Places]:
    return {name: _places(run.inputs[name].shape, run.rng, limit) for name in run.floats}


def _places(shape: tuple[int, ...], rng: np.random.Generator, limit: int) -> Places:
    size = int(np.prod(shape))
    if size <= limit:
        return Places(None, None)
    chosen = np.sort(rng.choice(size, min(SINGLES, size), replace=False))
    return Places(np.unravel_index(chosen, shape), rng.normal(size=(DIRECTIONS, *shape)))


def complex_step(run: Run, places: dict[str, Places]) -> dict[str, Slopes] | None:
    """Im L(x + ih) / h; None, and a note, where the forward cannot take complex numbers."""
    # all floating inputs become complex together: a real Y += b would otherwise refuse a complex b
    stepped = {name: x.astype(np.complex128) if is_float(x) else x for name, x in run.inputs.items()}

    def slope(name: str, x: Array, v: Array) -> float:
        return run.loss({**stepped, name: step(x, COMPLEX_STEP * 1j, v)}).imag / COMPLEX_STEP

    try:
        at_x = run.outputs(stepped)
        for y, real in zip(at_x, run.out, strict=True):
            if relative(y.real, real) > ROUNDING:
                run.notes.append("forward(complex x).real differs from forward(x); a maximum or a comparison must look at the "
                                 "real part, and abs and norm must be x * x and sqrt; judged by the central difference alone")
                return None
        return {name: _slopes(run, name, places[name], slope) for name in run.floats}
    except Broken as broken:
        run.notes.append(f"on complex inputs {broken.what}{broken.why and ': '}{broken.why}; make the forward complex-safe; "
                         "judged by the central difference alone")
        return None


def central_difference(run: Run, places: dict[str, Places]) -> dict[str, Slopes]:
    scale = sum(float(np.abs(d * y).sum()) for d, y in zip(run.d_out, run.out, strict=True))

    def slope(name: str, x: Array, v: Array) -> float:
        return steady_slope(lambda t: run.loss({**run.inputs, name: step(x, t, v)}), scale)

    return {name: _slopes(run, name, places[name], slope) for name in run.floats}


def steady_slope(loss: Callable[[float], float], scale: float) -> float:
    """The derivative of loss(t) at 0, with the step at which it no longer changes."""
    best, least, last = np.nan, np.inf, None
    for h in DIFFERENCE_STEPS:
        slope = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h)
        if last is not None:
            gap = abs(slope - last)
            if gap < least or np.isnan(best):
                best, least = slope, gap
            if gap <= STEADY * max(abs(slope), abs(last), scale):
                break
        last = slope
    return float(best)


def _slopes(run: Run, name: str, place: Places, slope: Callable[[str, Array, Array], float]) -> Slopes:
    x = run.inputs[name]
    if place.index is None:
        values = np.empty(x.shape)
        for i, v in units(x.shape):
            values[i] = slope(name, x, v)
        return Slopes(values, None, None, None)
    singles = np.array([slope(name, x, _unit(x.shape, i)) for i in zip(*place.index, strict=True)])
    return Slopes(singles, place.index, place.directions, np.array([slope(name, x, v) for v in place.directions]))


def units(shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Every index with the array that is 1 there and 0 elsewhere (one array, changed in place)."""
    v = np.zeros(shape)
    for i in np.ndindex(shape):
        v[i] = 1
        yield i, v
        v[i] = 0


def _unit(shape: tuple[int, ...], i: tuple[Any, ...]) -> Array:
    v = np.zeros(shape)
    v[i] = 1
    return v


def jacobian(run: Run, name: str) -> Array | None:
    """d out / d x, (outputs, *x.shape), by complex step; None where the forward is not complex-safe or this is too large."""
    x = run.inputs[name]
    if x.size * sum(y.size for y in run.out) > 1_000_000:
        return None
    stepped = {key: copy_of(value).astype(np.complex128) if is_float(value) else value for key, value in run.inputs.items()}
    columns = []
    try:
        for _, v in units(x.shape):
            outs = run.outputs({**stepped, name: step(x, COMPLEX_STEP * 1j, v)})
            columns.append(np.concatenate([np.imag(y).ravel() for y in outs]) / COMPLEX_STEP)
    except Broken:  # not complex-safe: the note says so already
        return None
    outputs = sum(y.size for y in run.out)
    return np.array(columns).reshape(x.size, outputs).T.reshape(outputs, *x.shape)


def gradient_at(run: Run, name: str, arguments: dict[str, Any], actual: Array, room: float) -> Array | None:
    """The gradient of `name` for other arguments of the same forward, by complex step.

    None where the forward refuses them, and as soon as one element is farther than `room` from `actual`: what is asked is
    whether this is the gradient that came, and nearly always the first element says no.
    """
    stepped = {key: x.astype(np.complex128) if is_float(x) else x for key, x in arguments.items()}
    x = stepped[name]
    if x.shape != run.inputs[name].shape:
        return None
    d_x = np.empty(x.shape)
    try:
        for i, v in units(x.shape):
            outs = parts(run.forward(**{**stepped, name: step(x, COMPLEX_STEP * 1j, v)})[0])
            d_x[i] = sum((d * y).sum() for d, y in zip(run.d_out, outs, strict=True)).imag / COMPLEX_STEP
            if not abs(d_x[i] - actual[i]) <= room:
                return None
    except Exception:  # the call makes no sense, so it is not what happened
        return None
    return d_x


def output_at(run: Run, arguments: dict[str, Any]) -> Array | None:
    """The output for other arguments of the same forward; None where it refuses them."""
    try:
        return np.asarray(run.forward(**arguments)[0])
    except Exception:  # as above
        return None
