"""Exercises that are no equation of the package: a function against a loop, and the mistakes that people make by name.

The function is called on all cases before one is told: a mistake is named by all of its answers, see mistakes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from attnretrieval.course.exercises.differences import difference, shown
from attnretrieval.course.exercises.exercise import Check, Draw, Finding, Mistake, answer_of
from attnretrieval.course.exercises.mistakes import Answered, draw_apart, recognised


def loop(reference: Callable, cases: Callable[[Draw], Iterator[tuple]], mistakes: Sequence[Mistake] = ()) -> Check:
    """Compares a function with `reference`. `cases(draw)` yields a label, then the arguments."""
    def check(function: Callable, rng: np.random.Generator) -> Iterator[Finding]:
        draw = Draw(rng)
        drawn = draw_apart(lambda: ((label, arguments) for label, *arguments in cases(draw)),
                           [reference, *(mistake.wrong for mistake in mistakes)])
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
                finding = finding._replace(mistake=recognised(mistakes, answers))
            yield finding
    return check
