"""Kinks: where a maximum or a hinge ties, there is no derivative, and several gradients are right.

Two ways to say that an equation has kinks:

    kinks=function       function(**inputs, **options) → the distance of every comparison from its tie. The inputs are nudged
                         until all are away from 0, and then the derivative exists.
    kinks="between"      the inputs lie on a tie on purpose. Accepted are exactly the values between the one-sided derivatives

        D₊ = lim (f(x + tv) - f(x)) / t        D₋ = lim (f(x) - f(x - tv)) / t        t ↓ 0

For g = max(F_1, F_2) at F_1 = F_2 each of d_F_1, d_F_2 may lie in [0, 1]. That alone would accept 1 and 1, or 0 and 0. Along
v = (v_1, v_2) > 0 it holds that D₊ = max(v), D₋ = min(v), and d_F·v must lie between; neither v_1 + v_2 nor 0 does. So the same
is asked along random positive directions and along v = 1, one output at a time: two that bend opposite ways would hide each
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.derivatives import DIFFERENCE_STEPS, units
from attnretrieval.gradcheck.report import Problem
from attnretrieval.gradcheck.run import Run, is_float, step

CLEARANCE = 1e-3            # the distance from a tie that is asked for
TRIES = 30
KINK = 1e-6                 # one-sided derivatives that differ by more are no rounding
STEP = 1e-5


def move_away(inputs: Mapping[str, Any], options: Mapping[str, Any], distances: Callable, rng: np.random.Generator,
              notes: list[str]) -> dict[str, Any]:
    """The inputs, nudged where they lie on a tie; the best of TRIES where none is clear of all."""
    best, widest = dict(inputs), _nearest(distances, inputs, options)
    if widest >= CLEARANCE:
        return best
    for attempt in range(1, TRIES + 1):
        size = CLEARANCE * min(4 * attempt, 40)
        nudged = {name: step(x, size, rng.normal(size=x.shape)) if is_float(x) else x for name, x in inputs.items()}
        gap = _nearest(distances, nudged, options)
        if gap > widest:
            best, widest = nudged, gap
        if gap >= CLEARANCE:
            break
    notes.append(f"the inputs were moved away from a tie; the nearest is now {widest:.1e} away")
    return best


def _nearest(distances: Callable, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> float:
    found = np.abs(np.asarray(distances(**inputs, **options), dtype=float))
    return float(found.min()) if found.size else np.inf


def one_sided(run: Run, name: str, v: Array) -> tuple[Array, Array]:
    """D₋ and D₊ of every output along v, flat. Three points on one side: right to h²."""
    x = run.inputs[name]

    def at(t: float) -> Array:
        return np.concatenate([y.ravel() for y in run.outputs({**run.inputs, name: step(x, t, v)})])

    here = at(0.0)
    above = (4 * at(STEP) - at(2 * STEP) - 3 * here) / (2 * STEP)
    below = -(4 * at(-STEP) - at(-2 * STEP) - 3 * here) / (2 * STEP)
    return below, above


def _rounding(run: Run, below: Array, above: Array) -> float:
    """How far two equal one-sided slopes may lie apart."""
    return KINK * max(np.abs(below).max(initial=0), np.abs(above).max(initial=0), *(np.abs(y).max(initial=0) for y in run.out))


def between(run: Run, name: str) -> tuple[Array, Array, Array]:
    """For every element of x: the least and the largest dL/dx that is right, and whether they differ."""
    x = run.inputs[name]
    u = np.concatenate([d.ravel() for d in run.d_out])
    low, high, bent = np.empty(x.shape), np.empty(x.shape), np.zeros(x.shape, bool)
    for i, v in units(x.shape):
        below, above = one_sided(run, name, v)
        kinked = np.abs(above - below) > _rounding(run, below, above)
        ends = np.stack([u * below, u * above])
        ends[:, ~kinked] = ends[:, ~kinked].mean(axis=0)
        low[i], high[i], bent[i] = ends.min(axis=0).sum(), ends.max(axis=0).sum(), kinked.any()
    return low, high, bent


def is_kink(run: Run, name: str, i: tuple[int, ...]) -> tuple[float, float] | None:
    """The two one-sided derivatives of L at one element, where they differ."""
    v = np.zeros(run.inputs[name].shape)
    v[i] = 1
    below, above = one_sided(run, name, v)
    u = np.concatenate([d.ravel() for d in run.d_out])
    if not np.any(np.abs(above - below) > 1e3 * _rounding(run, below, above)) or _bends_smoothly(run, name, v):
        return None
    return float(u @ below), float(u @ above)


def _bends_smoothly(run: Run, name: str, v: Array) -> bool:
    """The central slopes settle and the one-sided ones close in: no kink, only a sharp bend."""
    x, h = run.inputs[name], DIFFERENCE_STEPS[-2]

    def loss(t: float) -> float:
        return float(run.loss({**run.inputs, name: step(x, t, v)}))

    above, below = (loss(h) - loss(0)) / h, (loss(0) - loss(-h)) / h
    return abs(above - below) <= 1e-3 * max(abs(above), abs(below), 1e-300)


def check_between(run: Run) -> list[Problem]:
    """Along positive directions the gradient of each output that bends lies between its one-sided slopes."""
    _, cache = run.forward(**run.arguments())
    problems = []
    for name, d_x in run.present:
        if d_x.shape == run.inputs[name].shape:
            problems += _between_along(run, name, cache)[:1]
    return problems


def _between_along(run: Run, name: str, cache: Any) -> list[Problem]:
    """One problem for each output whose slope is wrong along one of a few directions."""
    shape, sizes = run.inputs[name].shape, [y.size for y in run.out]
    # along ones all that tie move together: nothing bends there, and the slope is exact
    directions = [np.ones(shape), *(run.rng.uniform(0.5, 1.5, size=shape) for _ in range(4))]
    sides = [one_sided(run, name, v) for v in directions]
    rooms = [10 * _rounding(run, below, above) for below, above in sides]
    bends = np.any([np.abs(above - below) > room for (below, above), room in zip(sides, rooms, strict=True)], axis=0)
    problems = []
    for k in np.flatnonzero(bends)[:16]:
        d_x = run.gradients(cache, _one_output(run, sizes, int(k)))[name]
        for v, (below, above), room in zip(directions, sides, rooms, strict=True):
            slope, low, high = float((d_x * v).sum()), *sorted((float(below[k]), float(above[k])))
            if not low - room <= slope <= high + room:
                problems.append(Problem(
                    name, f"at a tie: along a random direction output {k} has the slope {slope:.6g}, which is not between "
                    f"its one-sided slopes {low:.6g} and {high:.6g}: does the gradient go to all that tie, or to none?",
                    "not between the one-sided derivatives"))
                break
    return problems


def _one_output(run: Run, sizes: list[int], k: int) -> tuple[Array, ...]:
    """The upstream gradient that asks for one output element alone."""
    flat = np.zeros(sum(sizes))
    flat[k] = 1
    pieces = np.split(flat, np.cumsum(sizes)[:-1])
    return tuple(piece.reshape(y.shape) for piece, y in zip(pieces, run.out, strict=True))
