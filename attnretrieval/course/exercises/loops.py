"""Exercises that are no equation of the package: a function against a loop, and the mistakes that people make by name.

The function is called on all cases. Where it is wrong, the mistake is named whose formula gives what it gave on every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.course.exercises.equations import Check
from attnretrieval.course.exercises.exercise import Both, Draw, Finding, answer_of
from attnretrieval.gradcheck.calls import a_kind

TOLERANCE = 1e-9
SMALL = 40                  # numbers of a case that a message shows
Answered = tuple[Sequence[Any], Any, bool]      # arguments, answer, whether it is wrong


class Mistake(NamedTuple):
    """A formula that is taken for the right one: what to call it, and what it computes."""

    en: str
    zh: str
    wrong: Callable


def loop(reference: Callable, cases: Callable[[Draw], Iterator[tuple]], mistakes: Sequence[Mistake] = ()) -> Check:
    """Compares a function with `reference`. `cases(draw)` yields a label, then the arguments."""
    def check(function: Callable, rng: np.random.Generator) -> Iterator[Finding]:
        drawn = [(label, arguments) for label, *arguments in cases(Draw(rng))]
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


def _gives(mistake: Mistake, arguments: Sequence[Any], answer: Any) -> bool:
    try:
        return not difference(answer, mistake.wrong(*arguments))
    except Exception:  # a mistake need not be able to answer every case
        return False


# --- comparison --------------------------------------------------------------------------------------------------------


def difference(answer: Any, expected: Any) -> str:
    """How an answer differs from what is expected; "" where it does not."""
    if isinstance(expected, str):
        return "" if answer == expected else f"expected {expected!r}, got {answer!r}"
    if isinstance(expected, Mapping):
        return _of_mapping(answer, expected)
    if isinstance(expected, tuple):
        if not isinstance(answer, tuple | list) or len(answer) != len(expected):
            return f"the function returned {_kind(answer)}, expected {len(expected)} results"
        problems = ((i, difference(*pair)) for i, pair in enumerate(zip(answer, expected, strict=True), start=1))
        return next((f"result {i}: {problem}" for i, problem in problems if problem), "")
    if isinstance(expected, list) and any(isinstance(item, str | tuple) for item in expected):
        if not isinstance(answer, tuple | list):
            return f"the function returned {_kind(answer)}, expected a list"
        if len(answer) != len(expected):
            return f"{len(answer)} entries, expected {len(expected)}"
        problems = ((i, difference(*pair)) for i, pair in enumerate(zip(answer, expected, strict=True)))
        return next((f"entry {i}: {problem}" for i, problem in problems if problem), "")
    return _of_numbers(answer, np.asarray(expected))


def _of_mapping(answer: Any, expected: Mapping) -> str:
    if not isinstance(answer, Mapping):
        return f"the function returned {_kind(answer)}, expected a dict"
    for key, value in expected.items():
        if key not in answer:
            return f"no entry {key!r}; there is {', '.join(map(repr, list(answer)[:3])) or 'none'}"
        problem = difference(answer[key], value)
        if problem:
            return f"entry {key!r}: {problem}"
    extra = [key for key in answer if key not in expected]
    return f"an entry {extra[0]!r} that should not be there" if extra else ""


def _of_numbers(answer: Any, expected: np.ndarray) -> str:
    wanted = "a number" if expected.ndim == 0 else f"an array of shape {expected.shape}"
    try:
        got = np.asarray(answer)
    except ValueError:          # rows of different lengths
        got = np.asarray(None)
    if got.dtype.kind not in "fiub":
        return f"the function returned {_kind(answer)}, expected {wanted}"
    if got.shape != expected.shape:
        return f"the answer has shape {got.shape}, expected {wanted}" if got.ndim else f"one number, expected {wanted}"
    got, right = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(right[np.isfinite(right)])
    scale = float(finite.max()) if finite.size else 1.0
    wrong = ~np.isclose(got, right, rtol=0, atol=TOLERANCE * max(scale, 1e-300), equal_nan=True)
    if not wrong.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{int(wrong.sum())} of {wrong.size} values are wrong, the first at {list(first)}: " if first else ""
    return f"{where}expected {right[first]:.6g}, got {got[first]:.6g}"


def _kind(x: Any) -> str:
    return a_kind(x) + ("; is its return missing?" if x is None else "")


def shown(arguments: Sequence[Any]) -> str:
    """The arguments of a case, where they are few numbers."""
    arrays = [np.asarray(x) for x in arguments if isinstance(x, np.ndarray | int | float)]
    if len(arrays) != len(arguments) or sum(x.size for x in arrays) > SMALL:
        return ""
    texts = [np.array2string(x, precision=3, separator=", ").replace("\n", "") for x in arrays]
    return "; it was given " + ", ".join(" ".join(text.split()) for text in texts)
