"""Exercises that are no equation of the package: a function against a loop, and the mistakes that people make by name.

The function is called on all cases. Where it is wrong, the mistake is named whose formula gives what it gave on every case.
Cases are drawn again until each mistake shows in one of them: none is right by luck.
"""

from __future__ import annotations

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
            if all(_shows(mistake, drawn, reference) for mistake in mistakes):
                break
        answers: list[Answered] = []
        findings = []
        for label, arguments in drawn:
            answer, finding = answer_of(function, label, *arguments)
            if finding is None:
                problem = difference(answer, reference(*arguments))
                answers.append((arguments, answer, bool(problem)))
                finding = Finding(label, not problem, np.inf if problem else 0.0, problem and problem + shown(arguments))
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


def _shows(mistake: Mistake, drawn: Sequence[tuple[str, Sequence[Any]]], reference: Callable) -> bool:
    return not all(_gives(mistake, arguments, reference(*arguments)) for _, arguments in drawn)


def _gives(mistake: Mistake, arguments: Sequence[Any], answer: Any) -> bool:
    try:
        return not difference(answer, mistake.wrong(*arguments))
    except Exception:  # a mistake need not be able to answer every case
        return False
