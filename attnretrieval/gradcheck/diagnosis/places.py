"""The right numbers in the wrong place or the wrong shape: transposed, exchanged, permuted, not summed."""

from __future__ import annotations

import itertools

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.diagnosis.wrong import Diagnosis, Wrong, shown


def transposed(wrong: Wrong) -> Diagnosis | None:
    shape = wrong.actual.shape
    for a, b in itertools.combinations(range(wrong.actual.ndim)[::-1], 2):
        if shape[a] == shape[b] > 1 and wrong.explains(wrong.expected.swapaxes(a, b)):
            return Diagnosis("transposed", f"{wrong.d} is transposed: its axes {b} and {a} are exchanged")
    return None


def swapped(wrong: Wrong) -> Diagnosis | None:
    for other, d_other in wrong.others.items():
        if other != wrong.name and d_other.any() and wrong.explains(d_other):
            return Diagnosis(f"swapped with d_{other}", f"{wrong.d} is the gradient of {other}: are the two exchanged?")
    return None


def permuted(wrong: Wrong) -> Diagnosis | None:
    """The same values in another order: along one axis, or all mixed (a reshape where an axis was to be moved)."""
    actual, expected = wrong.actual, wrong.expected
    for axis in range(actual.ndim):
        order = _order(np.moveaxis(actual, axis, 0), np.moveaxis(expected, axis, 0))
        if order is not None and wrong.explains(np.take(expected, order, axis)):
            return Diagnosis("permuted", f"{wrong.d} is permuted along axis {axis}: {shown(order)} stand at 0, 1, 2, …")
    if actual.size > 3 and wrong.close(np.sort(actual.ravel()), np.sort(expected.ravel())):
        return Diagnosis("permuted", f"{wrong.d} has the right values in the wrong places: is a reshape used where axes "
                                     "must be moved, or an index wrong?")
    return None


def along_another_axis(wrong: Wrong) -> Diagnosis | None:
    """The output of the equation on its main input transposed, transposed back: sums that run over the wrong axis."""
    run = wrong.run
    for name in run.floats:
        x = run.inputs[name]
        if x.shape != wrong.expected.shape:
            continue
        same = [other for other, z in run.inputs.items() if z is not None and z.shape == x.shape]
        for a, b in itertools.combinations(range(x.ndim), 2):
            turned = {other: run.inputs[other].swapaxes(a, b) for other in same}
            supposed = wrong.other_call({**run.inputs, **run.options, **turned})
            if supposed is not None and wrong.explains(supposed.swapaxes(a, b)):
                return Diagnosis("along another axis", f"{wrong.d} is what the equation gives along axis {a}, not {b}")
    return None


def _order(actual: Array, expected: Array) -> list[int] | None:
    """For each slice of actual the slice of expected that is nearest; None unless it is a permutation."""
    n = len(actual)
    if not 1 < n <= 100:
        return None
    far = np.linalg.norm(actual.reshape(n, 1, -1) - expected.reshape(1, n, -1), axis=-1)
    order = [int(i) for i in far.argmin(axis=1)]
    return order if sorted(order) == list(range(n)) else None


def shape_swapped(wrong: Wrong) -> Diagnosis | None:
    return swapped(wrong)


def shape_transposed(wrong: Wrong) -> Diagnosis | None:
    if wrong.actual.ndim == wrong.expected.ndim >= 2 and wrong.explains(wrong.expected.swapaxes(-1, -2)):
        return Diagnosis("transposed", f"{wrong.d} is transposed: return its transpose")
    return None


def shape_unsummed(wrong: Wrong) -> Diagnosis | None:
    """Summed over some of its axes it would be right: the missing sum over the copies of a broadcast input."""
    actual, expected = wrong.actual, wrong.expected
    for r in range(1, actual.ndim + 1):
        for axes in itertools.combinations(range(actual.ndim), r):
            total = actual.sum(axis=axes)
            if total.size == expected.size and wrong.close(total.reshape(expected.shape), expected):
                if actual.size == expected.size:        # the sum over an axis of 1, and not over one of more
                    return None
                which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
                return Diagnosis("batch sum missing", f"{wrong.d} is not summed over its {which}; summed it would be right")
    return None


def shape_reshaped(wrong: Wrong) -> Diagnosis | None:
    if wrong.actual.size == wrong.expected.size and wrong.close(wrong.actual.reshape(wrong.expected.shape), wrong.expected):
        return Diagnosis("wrong shape", f"{wrong.d} has the right values; reshape it to the shape of {wrong.name}")
    return None
