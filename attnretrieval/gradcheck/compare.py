"""The comparison: the gradients of a backward against both derivatives, input by input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.gradcheck.derivatives import Slopes, central_difference, choose_places, complex_step, rms
from attnretrieval.gradcheck.diagnosis import Wrong, diagnose, diagnose_samples
from attnretrieval.gradcheck.kinks import between, is_kink
from attnretrieval.gradcheck.report import Row
from attnretrieval.gradcheck.run import Run, at_least

DIFFERENCE_TOLERANCE = 1e-6
SMALL_GRADIENT = 1e-3       # of the largest gradient of the call: below it, errors are measured against this
ROUNDINGS = 1e4             # 10 steps of an equation, each a rounding; times 1 / SMALL_GRADIENT
SUBTRACTED = 1e-5           # a difference subtracts values of the size of L: it sees no gradient below this part of them


def tolerance_for(run: Run) -> tuple[float, str]:
    """1e4 ε √N: the sum of N roundings of size ε grows like √N."""
    size = sum(run.inputs[name].size for name in run.floats) + sum(y.size for y in run.out)
    return ROUNDINGS * float(np.finfo(np.float64).eps) * np.sqrt(max(size, 1)), f" = 1e4 ε √{size}"


class Derivatives(NamedTuple):
    exact: dict[str, Slopes] | None     # the complex step
    witness: dict[str, Slopes]          # the central difference
    floor: float                        # errors are measured against at least this
    noise: float                        # the same for the difference

    def judge(self, name: str) -> Slopes:
        return self.witness[name] if self.exact is None else self.exact[name]


def differentiate(run: Run, limit: int) -> Derivatives:
    places = choose_places(run, limit)
    exact, witness = complex_step(run, places), central_difference(run, places)
    slopes = witness if exact is None else exact
    floor = SMALL_GRADIENT * at_least(max((d.norm for d in slopes.values()), default=0.0), run.usual)
    scale = sum(float(np.abs(d * y).sum()) for d, y in zip(run.d_out, run.out, strict=True))
    return Derivatives(exact, witness, floor, max(floor, SUBTRACTED * scale))


def compare(run: Run, tolerance: float, limit: int, at_ties: bool, paths: Callable | None) -> list[Row]:
    derivatives = differentiate(run, limit)
    if derivatives.exact is not None and not at_ties:
        derivatives = _believe_the_difference(run, derivatives, limit)
    run.exact = derivatives.exact is not None and not at_ties
    rows = []
    for name in run.floats:
        d_x, shape = run.grads.get(name), run.inputs[name].shape
        row = Row(name, shape, np.nan, np.nan)
        rows.append(row)
        exact, witness = derivatives.judge(name), derivatives.witness[name]
        whole = {other: derivatives.judge(other).values for other in run.floats if derivatives.judge(other).index is None}
        row.expected, row.actual = whole.get(name), d_x
        if d_x is None:
            continue                                                   # check_fields says so
        if d_x.shape != shape:                                         # check_shapes says so
            _explain(row, run, whole, tolerance, derivatives.floor, paths)
            continue
        if at_ties and exact.index is None:
            exact, witness = _accept_between(run, name, d_x, exact, witness)
            row.expected = whole[name] = exact.values
        row.difference_error = witness.error(d_x, derivatives.noise)
        if derivatives.exact is not None:
            row.complex_error = exact.error(d_x, derivatives.floor)
        if not np.all(np.isfinite(d_x)):
            continue                                                   # check_finite says so
        if derivatives.exact is not None and not row.complex_error <= tolerance:
            row.problems.append(_first_wrong(d_x, exact, tolerance, derivatives.floor))
            _explain(row, run, whole, tolerance, derivatives.floor, paths, exact)
        elif not row.difference_error <= DIFFERENCE_TOLERANCE:
            row.problems.append("against the central difference: "
                                + _first_wrong(d_x, witness, DIFFERENCE_TOLERANCE, derivatives.noise))
            _explain(row, run, whole, DIFFERENCE_TOLERANCE, derivatives.noise, paths, witness)
    _report_kinks(run, derivatives, rows, at_ties)
    return rows


def _believe_the_difference(run: Run, found: Derivatives, limit: int) -> Derivatives:
    """Where the two derivatives disagree without a kink, the complex step is fooled: go on with the difference alone."""
    fooled = [name for name in run.floats if _apart(found, name) and _kink(run, found, name) is None]
    if not fooled:
        return found
    run.notes.append(f"the forward is not complex-safe: complex step and central difference disagree on {', '.join(fooled)} "
                     "(abs, norm and conj must be x * x and sqrt); judged by the central difference alone")
    floor = SMALL_GRADIENT * at_least(max((d.norm for d in found.witness.values()), default=0.0), run.usual)
    return Derivatives(None, found.witness, floor, max(floor, found.noise))


def _apart(found: Derivatives, name: str) -> bool:
    exact, witness = found.exact[name], found.witness[name]
    size = max(np.linalg.norm(exact.values), np.linalg.norm(witness.values), found.noise)
    apart = np.linalg.norm(exact.values - witness.values) > DIFFERENCE_TOLERANCE * size
    if exact.directions is not None:
        size = max(rms(exact.along), rms(witness.along), found.noise)
        apart = apart or rms(exact.along - witness.along) > DIFFERENCE_TOLERANCE * size
    return bool(apart)


def _kink(run: Run, found: Derivatives, name: str) -> tuple[tuple[int, ...], tuple[float, float]] | None:
    """The element on which the two derivatives differ most, where it is a kink."""
    exact, witness = found.exact[name], found.witness[name]
    if not exact.values.size:
        return None
    at = int(np.argmax(np.abs(exact.values - witness.values)))
    i = np.unravel_index(at, exact.values.shape) if exact.index is None else tuple(axis[at] for axis in exact.index)
    i = tuple(int(k) for k in i)
    sides = is_kink(run, name, i)
    return sides and (i, sides)


def _report_kinks(run: Run, found: Derivatives, rows: list[Row], at_ties: bool) -> None:
    if found.exact is None or at_ties:
        return
    for row in rows:
        kink = _kink(run, found, row.name) if _apart(found, row.name) else None
        if kink:
            i, (below, above) = kink
            where = f" at {list(i)}" if i else ""
            row.problems.append(f"x lies on a kink{where}: the one-sided derivatives are {below:.6g} and {above:.6g}; "
                                "declare it with kinks=, or check away from ties")
            row.diagnosis = "on a kink"


def _accept_between(run: Run, name: str, d_x: Array, exact: Slopes, witness: Slopes) -> tuple[Slopes, Slopes]:
    """At a tie the right value is any between the one-sided derivatives: the nearest one to what the backward gave."""
    low, high, bent = between(run, name)
    room = DIFFERENCE_TOLERANCE * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))
    inside = (d_x >= low - room) & (d_x <= high + room)
    nearest = np.where(inside, d_x, np.clip(d_x, low, high))
    return (exact._replace(values=np.where(bent, nearest, exact.values)),
            witness._replace(values=np.where(bent, nearest, witness.values)))


def _explain(row: Row, run: Run, whole: dict[str, Array], tolerance: float, floor: float, paths: Callable | None,
             judged: Slopes | None = None) -> None:
    """Adds the diagnosis to the row."""
    if row.name in whole:
        expected = whole[row.name] if judged is None else judged.values
        found = diagnose(Wrong(run, row.name, row.actual, expected, whole, 10 * tolerance, floor, paths))
    elif judged is not None:
        found = diagnose_samples(Wrong(run, row.name, judged.of(row.actual), judged.values, whole, 10 * tolerance, floor))
    else:
        found = None
    row.diagnosis = "unexplained" if found is None else found.code
    if found is not None:
        row.problems.append(found.text)


def _first_wrong(actual: Array, expected: Slopes, tolerance: float, floor: float) -> str:
    """The first element that carries its share of the error, and how many do."""
    mine = expected.of(actual)
    size = max(np.linalg.norm(expected.values), np.linalg.norm(mine), floor)
    wrong = np.abs(mine - expected.values) > tolerance * size / np.sqrt(max(mine.size, 1))
    if not wrong.any():
        return (f"wrong along random directions, by {expected.error(actual, floor):.1e} of its size; none of the "
                f"{mine.size} elements that were looked at alone is")
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = first if expected.index is None else tuple(int(axis[first[0]]) for axis in expected.index)
    where = f" at {list(place)}" if place else ""
    sample = "" if expected.index is None else "sampled "
    return (f"{int(wrong.sum())} of {mine.size} {sample}elements are wrong; the first{where}: "
            f"expected {expected.values[first]:.6g}, the backward gave {mine[first]:.6g}")

