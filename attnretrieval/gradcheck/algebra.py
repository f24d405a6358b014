"""Algebra: identities that hold for an equation whatever the numbers, where the caller declares them.

    ("rows sum to 0", "S")              softmax: S_j + c for all j changes nothing, so Σ_j d_S_j = 0
    ("shift invariant", "S")            out and gradients stay when a number is added to a row of S
    ("scale invariant", "X")            cosine: out(s X) = out(X), so X·d_X = 0 (Euler), vector by vector
    ("permutation", {"K": -2, "V": -2}, None)
                                        reordering these axes together reorders the gradients alike, and the output along
                                        the axis named last (None: not at all)
    ("masked", "key_mask", {"K": -2, "V": -2})
                                        along these axes, where the mask is False the gradient is exactly 0, and other values
                                        there change nothing

Why, beside derivatives: an identity needs no step and no tolerance for truncation, and it holds for a forward and its backward
when both are wrong in the same way. A forward that lets padding in passes every derivative test with a backward that does too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.report import Problem
from attnretrieval.gradcheck.run import Run, parts, relative

EXACT = 1e-9                # what rounding may change; identities have no other error


def check_algebra(run: Run, algebra: Iterable[tuple]) -> list[Problem]:
    problems = []
    for rule, *arguments in algebra:
        if rule not in ALGEBRA:
            raise ValueError(f"algebra {rule!r} is not one of {', '.join(ALGEBRA)}")
        problems += ALGEBRA[rule](run, *arguments)
    return problems


def both(run: Run, inputs: Mapping[str, Any], d_out: Iterable[Array] | None = None) -> tuple[tuple[Array, ...], dict]:
    """Output and gradients at other inputs."""
    given = {**run.arguments(), **{name: None if x is None else x.copy() for name, x in inputs.items()}}
    out, cache = run.forward(**given)
    return parts(out), run.gradients(cache, None if d_out is None else tuple(d_out))


def _usable(run: Run, names: Iterable[str]) -> list[str]:
    return [name for name in names if name in run.floats and run.grads.get(name) is not None
            and run.grads[name].shape == run.inputs[name].shape and np.all(np.isfinite(run.grads[name]))]


def _changed(run: Run, outs: tuple[Array, ...], grads: dict, what: str, names: Iterable[str]) -> list[Problem]:
    """Problems where outputs or gradients are not those of the run."""
    problems = [Problem(None, f"{what} changes the output") for same in run.same_outputs(outs, EXACT) if not same]
    return problems + [
        Problem(name, f"{what} changes d_{name}", "identity broken") for name in _usable(run, names)
        if not relative(grads[name], run.grads[name], 1e-3 * run.largest) <= EXACT
    ]


def rows_sum_to_0(run: Run, *names: str) -> list[Problem]:
    return [
        Problem(name, f"the rows of d_{name} do not sum to 0, though adding a number to a row of {name} changes nothing: "
                      "is the row term right?", "rows do not sum to 0")
        for name in _usable(run, names)
        if np.linalg.norm(run.grads[name].sum(axis=-1)) > EXACT * max(np.linalg.norm(run.grads[name]), 1e-3 * run.largest)
    ]


def shift_invariant(run: Run, *names: str) -> list[Problem]:
    problems = []
    for name in _usable(run, names):
        x = run.inputs[name]
        shifted = x + run.rng.normal(size=(*x.shape[:-1], 1))
        problems += _changed(run, *both(run, {name: shifted}), f"adding a number to each row of {name}", run.floats)
    return problems


def scale_invariant(run: Run, *names: str) -> list[Problem]:
    problems = []
    for name in _usable(run, names):
        x, d_x = run.inputs[name], run.grads[name]
        along = (x * d_x).sum(axis=-1)
        size = np.linalg.norm(x, axis=-1) * np.linalg.norm(d_x, axis=-1)
        if np.linalg.norm(along) > EXACT * max(np.linalg.norm(size), 1e-3 * run.largest):
            problems.append(Problem(name, f"d_{name} has a part along {name}, though the length of {name} does not matter: "
                                          "is the row term of the normalisation right?", "has a part along the input"))
        outs, _ = both(run, {name: 3.0 * x})
        problems += [Problem(None, f"3 · {name} gives another output than {name}, though its length should not matter")
                     for same in run.same_outputs(outs, EXACT) if not same]
    return problems


def permutation(run: Run, axes: Mapping[str, int], out_axis: int | None = None) -> list[Problem]:
    axes = {name: axis for name, axis in axes.items() if run.inputs.get(name) is not None
            and run.inputs[name].shape[axis:][:1] not in ((), (1,))}
    sizes = {run.inputs[name].shape[axis] for name, axis in axes.items()}
    if len(sizes) != 1:
        return []                                                      # broadcast, or nothing there to reorder
    (size,) = sizes
    order = np.roll(run.rng.permutation(size), 1)

    def moved(x: Array, axis: int | None) -> Array:
        return x if axis is None else np.take(x, order, axis)

    d_out = [moved(d, out_axis) for d in run.d_out]
    outs, grads = both(run, {name: moved(run.inputs[name], axis) for name, axis in axes.items()}, d_out)
    back = np.argsort(order)
    outs = tuple(y if out_axis is None else np.take(y, back, out_axis) for y in outs)
    for name in _usable(run, axes):
        grads[name] = np.take(grads[name], back, axes[name])
    together = " and ".join(f"axis {axis} of {name}" for name, axis in axes.items())
    return _changed(run, outs, grads, f"another order along {together}", run.floats)


def masked(run: Run, mask_name: str, axes: Mapping[str, int]) -> list[Problem]:
    mask = run.inputs.get(mask_name)
    if mask is None:
        return []
    problems = []
    for name in _usable(run, axes):
        x = run.inputs[name]
        off = _where_masked(mask, x.shape, axes[name])
        if off is None or not off.any():
            continue
        if np.any(run.grads[name][off] != 0):
            problems.append(Problem(name, f"d_{name} is not exactly 0 where {mask_name} is False: padding must not learn",
                                    "not 0 where the mask is False"))
        other = np.where(off, 10 * run.rng.normal(size=x.shape), x)
        problems += _changed(run, *both(run, {name: other}), f"another {name} where {mask_name} is False", run.floats)
    return problems


def _where_masked(mask: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """Which elements of x are masked; the mask's last axis is this axis of x. None where the mask is wider than x."""
    mask = mask.reshape(*mask.shape, *(1,) * (-1 - axis))
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    return ~np.broadcast_to(mask, shape) if fits else None


ALGEBRA: dict[str, Callable[..., list[Problem]]] = {
    "rows sum to 0": rows_sum_to_0, "shift invariant": shift_invariant, "scale invariant": scale_invariant,
    "permutation": permutation, "masked": masked,
}
