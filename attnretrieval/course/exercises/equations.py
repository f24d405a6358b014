"""Exercises that are equations: a backward goes to the gradient checker, a forward to the loops of reference.py.

Cases come from a function `cases(draw)` that yields label, inputs and perhaps options; the shapes are drawn anew each time.
A mistake of the exercise that explains an answer takes the place of what the diagnosis of the checker says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attnretrieval.course.cases import CASES
from attnretrieval.course.exercises.differences import difference
from attnretrieval.course.exercises.exercise import WRITES, Both, Check, Draw, Finding, Mistake, answer_of
from attnretrieval.course.exercises.faults import OUTPUT, headline
from attnretrieval.course.exercises.mistakes import Answered, draw_apart, recognised
from attnretrieval.course.mine import name_of
from attnretrieval.course.values import Value, check_values
from attnretrieval.gradcheck import STYLE, Report, Row
from attnretrieval.gradcheck.calls import Broken, call_backward

Cases = Callable[[Draw], Iterator[tuple]]       # label, inputs, and options where there are some
NOT_FINITE = ("it overflows or divides by 0: not every value is finite", "溢出或除以了 0：有的值不是有限数")
ROUNDED = "rounded to float32"
TOLD = 3                    # problems of one gradient that are told: the value, the diagnosis, and a rule that it breaks


def gradient_of(equation: str, cases: Cases, forward: Callable | None = None, mistakes: Sequence[Mistake] = ()) -> Check:
    """Checks a backward of CASES[equation]. `forward` returns the cache that the exercise promises, where it is not ours.

    The formula of a mistake is a backward, (d_out, cache) → gradients.
    """
    def check(backward: Callable, rng: np.random.Generator, own_forward: Callable | None = None) -> Iterator[Finding]:
        used = forward or CASES[equation].forward
        for label, inputs, *options in cases(Draw(rng)):
            chosen = options[0] if options else {}
            report = CASES[equation].check(label, inputs, chosen, rng, name=name_of(backward), forward=own_forward or used,
                                           backward=backward)
            finding = of_report(label, report)
            if not finding.passed and finding.raised is None and own_forward is None:
                named = _mistaken(mistakes, backward, used, {**inputs, **chosen}, [row.name for row in report.rows], rng)
                finding = finding._replace(mistake=named or finding.mistake)
            yield finding
    return check


def _mistaken(mistakes: Sequence[Mistake], backward: Callable, forward: Callable, arguments: dict[str, Any],
              names: Sequence[str], rng: np.random.Generator) -> Both | None:
    """The mistake whose gradients are those of this backward."""
    def gradients(one: Callable) -> dict[str, Any]:
        try:
            found = call_backward(one, d_out.copy(), forward(**arguments)[1], names)
        except Broken:
            return {}
        return {name: d_x for name, d_x in found.items() if d_x is not None}

    d_out = np.asarray(rng.normal(size=np.shape(forward(**arguments)[0])))
    mine = gradients(backward)
    return next(((mistake.en, mistake.zh) for mistake in mistakes if mine and not difference(mine, gradients(mistake.wrong))),
                None)


def of_report(case: str, report: Report) -> Finding:
    """As a student needs it: a gradient of another dtype, or one that shares memory, is right all the same."""
    remark = "; ".join(f"d_{row.name}: {text}" for row in report.rows for text in row.style)
    told = replace(report, rows=[_told(row) for row in report.rows])
    if any(not row.passed for row in told.rows):        # what follows from a wrong gradient is not told besides
        told.problems = [text for text in report.problems if not text.startswith("the Hessian")]
    named = headline({f"d_{name}": code for name, code in told.diagnosis.items()})
    return Finding(case, told.passed, "" if told.passed else str(told), named, report.raised, remark if told.passed else "")


def _told(row: Row) -> Row:
    rounded = [text for text in row.style if text.startswith("with float64")]
    if rounded:         # the wrong digits, and whatever they break, come from this
        return replace(row, problems=rounded, diagnosis=ROUNDED)
    problems = [text for text in row.problems if text not in row.style][:TOLD]
    return replace(row, problems=problems, diagnosis=row.diagnosis if problems and row.diagnosis not in STYLE else None)


def values_of(equation: str, cases: Cases, mistakes: Sequence[Mistake] = ()) -> Check:
    """Compares a forward with the loops of CASES[equation]; it returns its output, with a cache or without."""
    ours = _of_a_case(lambda **arguments: CASES[equation].forward(**arguments)[0])
    mistakes = [mistake._replace(wrong=_of_a_case(mistake.wrong)) for mistake in mistakes]

    def check(forward: Callable, rng: np.random.Generator) -> Iterator[Finding]:
        draw = Draw(rng)
        drawn = draw_apart(lambda: ((label, (inputs, options[0] if options else {}))
                                    for label, inputs, *options in cases(draw)), [ours, *(m.wrong for m in mistakes)])
        answers: list[Answered] = []
        findings = []
        for (label, case), value in zip(drawn, check_values(equation, _paired(forward), rng, dict(drawn)), strict=True):
            finding = Finding(label, value.passed, *_told_of_output(value), value.raised)
            if value.raised is None:
                answer, writes = answer_of(_output(forward), label, *case[0].values(), *case[1].values())
                answers.append((case, answer, not value.passed))
                if value.diagnosis == "not finite":
                    finding = finding._replace(mistake=NOT_FINITE)
                finding = writes or finding
            findings.append(finding)
        known = recognised(mistakes, answers)
        for finding in findings:
            if known and not finding.passed and finding.raised is None and finding.mistake != WRITES:
                finding = finding._replace(mistake=known, text=finding.text.partition("; ")[0])
            yield finding
    return check


def _told_of_output(value: Value) -> tuple[str, Both | None]:
    """The difference and the mistake. Its English name is the sentence of the diagnosis, where there is one."""
    named, (numbers, _, sentence) = headline({OUTPUT: value.diagnosis}), value.problem.partition("; ")
    return (numbers, (sentence, named[1])) if named and sentence else (value.problem, named)


def _of_a_case(function: Callable) -> Callable:
    """The function of a case: its inputs and its options."""
    return lambda inputs, options: function(**inputs, **options)


def _output(forward: Callable) -> Callable:
    """The forward without its cache, in the order of the exercise: a student may name the arguments otherwise."""
    @functools.wraps(forward)
    def output(*arguments: Any) -> Any:
        answer = forward(*arguments)
        return answer[0] if isinstance(answer, tuple) and len(answer) == 2 else answer
    return output


def _paired(forward: Callable) -> Callable:
    @functools.wraps(forward)
    def with_cache(**arguments: Any) -> tuple[Any, Any]:
        answer = _output(forward)(*arguments.values())
        return (np.asarray(answer) if isinstance(answer, list) else answer), None
    return with_cache
