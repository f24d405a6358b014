"""Exercises that are equations: a backward goes to the gradient checker, a forward to the loops of reference.py.

Cases come from a function `cases(draw)` that yields label, inputs and perhaps options; the shapes are drawn anew each time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from attnretrieval.course.cases import CASES
from attnretrieval.course.exercises.differences import difference
from attnretrieval.course.exercises.exercise import Both, Check, Draw, Finding, Mistake
from attnretrieval.course.exercises.faults import OUTPUT, headline
from attnretrieval.course.mine import name_of
from attnretrieval.course.values import check_values
from attnretrieval.gradcheck import NO_REASON, Report

Cases = Callable[[Draw], Iterator[tuple]]       # label, inputs, and options where there are some
NOT_FINITE = ("it overflows or divides by 0: not every value is finite", "溢出或除以了 0:有的值不是有限数")
MATTERS_OF_STYLE = NO_REASON[:3]        # in the package a fault; a student's gradient is right all the same


def gradient_of(equation: str, cases: Cases, forward: Callable | None = None) -> Check:
    """Checks a backward of CASES[equation]. `forward` returns the cache that the exercise promises, where it is not ours."""
    def check(backward: Callable, rng: np.random.Generator, own_forward: Callable | None = None) -> Iterator[Finding]:
        for label, inputs, *options in cases(Draw(rng)):
            report = CASES[equation].check(label, inputs, options[0] if options else {}, rng, name=name_of(backward),
                                           forward=own_forward or forward, backward=backward)
            yield of_report(label, report)
    return check


def of_report(case: str, report: Report) -> Finding:
    wrong = [row for row in report.rows if not row.passed]
    if not report.problems and all(row.diagnosis in MATTERS_OF_STYLE for row in wrong):
        remark = "; ".join(f"d_{row.name}: {text}" for row in wrong for text in row.problems)
        return Finding(case, True, remark=remark)
    named = headline({f"d_{name}": code for name, code in report.diagnosis.items() if code not in MATTERS_OF_STYLE})
    return Finding(case, report.passed, str(report), named, report.raised)


def values_of(equation: str, cases: Cases, mistakes: Sequence[Mistake] = ()) -> Check:
    """Compares a forward with the loops of CASES[equation]; it returns its output, with a cache or without.

    A mistake of the exercise that explains the answer takes the place of what the diagnosis of values.py says.
    """
    def check(forward: Callable, rng: np.random.Generator) -> Iterator[Finding]:
        drawn = {label: (inputs, options[0] if options else {}) for label, inputs, *options in cases(Draw(rng))}
        values = check_values(equation, _paired(forward), rng, drawn)
        for (label, (inputs, options)), value in zip(drawn.items(), values, strict=True):
            mistake, text = headline({OUTPUT: value.diagnosis}), value.problem
            if value.diagnosis == "not finite":
                mistake = NOT_FINITE
            elif not value.passed and value.raised is None:
                known = _recognised(mistakes, forward, {**inputs, **options})
                mistake, text = (known, text.partition("; ")[0]) if known else (mistake, text)
            yield Finding(label, value.passed, text, mistake, value.raised)
    return check


def _recognised(mistakes: Sequence[Mistake], forward: Callable, arguments: dict[str, Any]) -> Both | None:
    out, _ = _paired(forward)(**arguments)
    for mistake in mistakes:
        if not difference(out, mistake.wrong(**arguments)):
            return mistake.en, mistake.zh
    return None


def _paired(forward: Callable) -> Callable:
    @functools.wraps(forward)
    def with_cache(**arguments: Any) -> tuple[Any, Any]:
        answer = forward(*arguments.values())       # in the order of the exercise: a student may name them otherwise
        if isinstance(answer, tuple) and len(answer) == 2:
            return answer
        return (np.asarray(answer) if isinstance(answer, list) else answer), None
    return with_cache
