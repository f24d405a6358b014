"""Exercises that are no equation of the package: a function against a loop, and the mistakes that people make by name.

The function is called on all cases. Where it is wrong, the mistake is named whose formula gives what it gave on every case.
Cases are drawn again until no mistake gives the right answers, or those of another: none is right, or named, by luck.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from attnretrieval.course.exercises.differences import difference, shown
from attnretrieval.course.exercises.exercise import Both, Check, Draw, Finding, Mistake, answer_of

DRAWS = 50
Answered = tuple[Sequence[Any], Any, bool]      # arguments, answer, whether it is wrong


def loop(reference: Callable, cases: Callable[[Draw], Iterator[tuple]], mistakes: Sequence[Mistake] = ()) -> Check:
    """Compares a function with `reference`. `cases(draw)` yields a label, then the arguments."""
    def check(function: Callable, rng: np.random.Generator) -> Iterator[Finding]:
        draw = Draw(rng)
        for _ in range(DRAWS):
            drawn = [(label, arguments) for label, *arguments in cases(draw)]
            if _told_apart([reference, *(mistake.wrong for mistake in mistakes)], drawn):
                break
        answers: list[Answered] = []
        findings = []
        for label, arguments in drawn:
            answer, finding = answer_of(function, label, *arguments)
            if finding is None:
                problem = difference(answer, reference(*arguments))
                answers.append((arguments, answer, bool(problem)))
                finding = Finding(label, not problem, problem and problem + shown(arguments))
            findings.append(finding)
        for finding in findings:
            if not finding.passed and finding.raised is None and finding.mistake is None:
                finding = finding._replace(mistake=_recognised(mistakes, answers))
            yield finding
    return check


def _recognised(mistakes: Sequence[Mistake], answers: Sequence[Answered]) -> Both | None:
    """The first mistake that gives every answer, the right ones too; else the first that gives the first wrong one."""
    first_wrong = [answered for answered in answers if answered[2]][:1]
    for some in (answers, first_wrong):
        for mistake in mistakes:
            if all(_gives(mistake, arguments, answer) for arguments, answer, _ in some):
                return mistake.en, mistake.zh
    return None


def _told_apart(functions: Sequence[Callable], drawn: Sequence[tuple[str, Sequence[Any]]]) -> bool:
    """No two of them give the same answers to all cases."""
    answers = [[_value(function, arguments) for _, arguments in drawn] for function in functions]
    return not any(all(not difference(*pair) for pair in zip(one, other, strict=True))
                   for one, other in itertools.permutations(answers, 2))


def _value(function: Callable, arguments: Sequence[Any]) -> Any:
    """What a mistake answers; a mistake need not be able to answer every case."""
    try:
        return function(*arguments)
    except Exception as error:
        return f"raised {error}"


def _gives(mistake: Mistake, arguments: Sequence[Any], answer: Any) -> bool:
    return not difference(answer, _value(mistake.wrong, arguments))
