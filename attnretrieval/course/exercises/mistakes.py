"""Which known mistake gives the answers that a function gave.

A mistake is named where its formula gives what the function gave on every case, the right ones too. Cases are drawn again until
no mistake gives the right answers, or those of another: none is right, or named, by luck.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from attnretrieval.course.exercises.differences import difference
from attnretrieval.course.exercises.exercise import Both, Mistake

DRAWS = 50
Answered = tuple[Sequence[Any], Any, bool]      # arguments, answer, whether it is wrong


def draw_apart(draw: Callable[[], Iterable], functions: Sequence[Callable]) -> list[tuple[str, Sequence[Any]]]:
    """Cases, (label, arguments), to which no two of the functions give the same answers, if such can be drawn."""
    for _ in range(DRAWS):
        drawn = list(draw())
        if _told_apart(functions, drawn):
            break
    return drawn


def recognised(mistakes: Sequence[Mistake], answers: Sequence[Answered]) -> Both | None:
    """The first mistake that gives every answer; else the first that gives the first wrong one, if it is not a number alone."""
    first_wrong = [answered for answered in answers if answered[2]][:1]
    for some in (answers, [answered for answered in first_wrong if not _one_number(answered[1])]):
        for mistake in mistakes if some else ():
            if all(_gives(mistake, arguments, answer) for arguments, answer, _ in some):
                return mistake.en, mistake.zh
    return None


def _one_number(answer: Any) -> bool:
    """Many formulas give the same number on one case."""
    return np.ndim(answer) == 0 if isinstance(answer, int | float | np.ndarray | np.generic) else False


def _told_apart(functions: Sequence[Callable], drawn: Sequence[tuple[str, Sequence[Any]]]) -> bool:
    answers = [[_value(function, arguments) for _, arguments in drawn] for function in functions]
    return not any(all(not difference(*pair) for pair in zip(one, other, strict=True))
                   for one, other in itertools.permutations(answers, 2))


def _value(function: Callable, arguments: Sequence[Any]) -> Any:
    """What a mistake answers; a mistake need not be able to answer every case."""
    try:
        with np.errstate(all="ignore"):
            return function(*arguments)
    except Exception as error:
        return f"raised {error}"


def _gives(mistake: Mistake, arguments: Sequence[Any], answer: Any) -> bool:
    return not difference(answer, _value(mistake.wrong, arguments))
