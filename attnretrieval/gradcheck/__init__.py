"""The gradient checker: does this backward undo this forward?

    report = check_gradient(attention, attention_backward, {"Q": Q, "K": K, "V": V}, rng=numpy.random.default_rng(0))
    print(report)
    assert report.passed
    report.plot().savefig("wrong.png")          # where a wrong gradient is wrong

What it needs: `forward(**inputs, **options) -> (out, cache)` and `backward(d_out, cache) -> Grads`, a NamedTuple in which `d_Q`
is the gradient of `Q` (or a dict, or a tuple in the order of the inputs). `out` is one array or a tuple of arrays; `d_out` then
has the same form. Floating-point `inputs` are differentiated; None, masks and integers pass through. Floats that have no
gradient go to `options`. A pass that raises or returns something else fails the check; the report says in which line.

The gradient is that of L = Σ d_out ∘ out for a random upstream gradient d_out (with ones instead, a softmax has gradient 0 and
hides its errors). One file a step:

    calls           one call of a pass, and what is told of it when it breaks
    derivatives     complex step and 5-point central difference, on every element or on samples
    compare         error = ‖actual - expected‖ / max(‖actual‖, ‖expected‖, 1e-3 · the largest gradient of the call); the last
                    is for gradients that are 0 in theory and rounding in practice, such as that of a key bias in attention
    saturation      how large the gradient is where nothing is saturated: that counts as the largest gradient, if it is larger
    checks          the rules of an equation: shapes, dtypes, aliases, repeats, linearity, layout, float32, Hessian, adjoint
    kinks           ties of a maximum or a hinge
    algebra         identities that the caller declares
    paths           one gradient for every use of an input, where the caller marks them
    diagnosis       what is wrong with a wrong gradient
    report          the result; picture draws it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from attnretrieval.gradcheck.algebra import check_algebra
from attnretrieval.gradcheck.calls import Broken
from attnretrieval.gradcheck.checks import CHECKS
from attnretrieval.gradcheck.compare import compare, tolerance_for
from attnretrieval.gradcheck.kinks import check_between, move_away
from attnretrieval.gradcheck.report import Problem, Report, Row
from attnretrieval.gradcheck.run import is_float, start
from attnretrieval.gradcheck.saturation import measure_usual

__all__ = ["Problem", "Report", "Row", "check_gradient"]

# codes of a gradient whose values are right
STYLE = ("wrong dtype", "shares memory", "inaccurate in float32")
# codes that do not explain a wrong value
NO_REASON = (*STYLE, "right for one upstream gradient alone")
# codes that explain a wrong value better than the value does
CAUSES = ("writes into its inputs", "changes from call to call", "accumulates over calls")
LIMIT = 1000                # elements of one input up to which each is differentiated


def check_gradient(
    forward: Callable, backward: Callable, inputs: Mapping[str, Any], *, rng: np.random.Generator,
    options: Mapping[str, Any] | None = None, name: str = "", tolerance: float | None = None,
    kinks: Callable | str | None = None, algebra: Sequence[tuple] = (), paths: Callable | None = None, limit: int = LIMIT,
) -> Report:
    """Compare `backward` with two numerical derivatives of `forward` and hold it to the rules of an equation.

    Values are compared in float64, whatever the dtype of `inputs`; float32 is checked besides. `tolerance` is for the complex
    step; None derives it from the sizes. `kinks`, `algebra` and `paths` say what is known of the equation: see the files of
    these names. An input of more than `limit` elements is differentiated along random directions and at random elements.
    """
    options, name = dict(options or {}), name or getattr(forward, "__name__", "forward")
    notes: list[str] = []
    if isinstance(kinks, str) and kinks != "between":
        raise ValueError(f"kinks={kinks!r} is neither 'between' nor a function of the inputs")
    if callable(kinks):
        doubles = {key: x.astype(np.float64) if is_float(x) else x for key, x in inputs.items()}
        inputs = move_away(doubles, options, kinks, rng, notes)
    try:
        run = start(forward, backward, inputs, options, rng)
    except Broken as broken:
        return Report(name, [], [str(broken)], tolerance or np.nan, notes, raised=broken.error)
    run.notes = notes
    derived, bound = tolerance_for(run)
    if tolerance is None:
        tolerance = derived
    else:
        bound = ""
    rows: list[Row] = []
    problems: list[Problem] = []
    broken: dict[str, Broken] = {}
    with _noted(broken):
        measure_usual(run)
    with _noted(broken):
        rows = compare(run, tolerance, limit, kinks == "between", paths)
    for check in (*CHECKS, partial(check_algebra, algebra=algebra), *([check_between] if kinks == "between" else [])):
        with _noted(broken):
            problems += check(run)
    for row in rows:
        _add_problems(row, [problem for problem in problems if problem.input == row.name])
    names = {row.name for row in rows}
    general = [p for p in problems if p.input not in names]
    texts = [*map(str, broken.values()), *(p.text if p.input is None else f"{p.input}: {p.text}" for p in general)]
    codes = [p.code for p in general if p.code is not None]
    raised = next((first.error for first in broken.values()), None)
    return Report(name, rows, texts, tolerance, run.notes, bound, codes, raised)


@contextmanager
def _noted(broken: dict[str, Broken]) -> Iterator[None]:
    """A pass that breaks ends the block, not the check; the same break is told once, of the first call that had it."""
    try:
        yield
    except Broken as found:
        broken.setdefault(found.what, found)


def _add_problems(row: Row, problems: list[Problem]) -> None:
    """The broken rules of one input; the first that can be the reason of a wrong value names an unexplained one."""
    if row.problems:        # a wrong value fails the adjoint test as well: said once
        problems = [problem for problem in problems if problem.code != NO_REASON[-1]]
    row.problems += [problem.text for problem in problems]
    row.style += [problem.text for problem in problems if problem.code in STYLE]
    codes = [problem.code for problem in problems if problem.code is not None]
    reasons = [code for code in codes if code not in NO_REASON]
    causes = [code for code in codes if code in CAUSES]
    if causes:
        row.diagnosis = causes[0]
    elif row.diagnosis is None and codes:
        row.diagnosis = (reasons or codes)[0]
    elif row.diagnosis == "unexplained" and reasons:
        row.diagnosis = reasons[0]
