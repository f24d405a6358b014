"""The gradient checks that a page shows: every case of an equation, run when the page is made."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from attnretrieval.course.cases import CASES
from attnretrieval.gradcheck import Report


class Checked(NamedTuple):
    label: str
    options: str
    shapes: str
    complex_error: float
    difference_error: float
    limit: float


@cache
def checked(equation: str) -> list[Checked]:
    """The cases of an equation; both languages show the same run. Raises where a gradient is wrong."""
    case, rng = CASES[equation], np.random.default_rng(0)
    rows = []
    for label, (inputs, options) in case.make(rng).items():
        report: Report = case.check(label, inputs, options, rng, name=equation)
        if not report.passed:
            raise AssertionError(f"the gradient check of {equation} fails:\n{report}")
        out, _ = case.forward(**inputs, **options)
        rows.append(Checked(label, ", ".join(f"{key}={_value(value)}" for key, value in options.items()),
                            f"{', '.join(f'{key} {_value(x)}' for key, x in inputs.items() if x is not None)} → {_value(out)}",
                            report.worst_error, float(np.max([row.difference_error for row in report.rows])), report.tolerance))
    return rows


def _value(x: object) -> str:
    """An array by its shape, as the docstrings write it; anything else as Python does."""
    return f"({', '.join(map(str, x.shape))})" if isinstance(x, np.ndarray | np.generic) else repr(x)
