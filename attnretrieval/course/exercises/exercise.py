"""What an exercise is, and what one case of it found."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.exercises.numpy_words import in_words
from attnretrieval.course.mine import misfit
from attnretrieval.gradcheck.calls import Broken, raised

KINDS = ("forward", "backward", "mask", "loss", "metric", "data")
Both = tuple[str, str]          # English, Chinese
WRITES = ("it changes its inputs", "它改动了传入的数组")


class Finding(NamedTuple):
    """One case, checked."""

    case: str
    passed: bool
    text: str = ""                          # what is wrong
    mistake: Both | None = None             # the mistake by name, where it was recognised
    raised: Exception | None = None
    remark: str = ""                        # worth knowing, and no fault

    def __str__(self) -> str:
        return "\n".join([*(self.mistake or in_words(self.raised) or ()), *filter(None, [self.text])])


Check = Callable[..., Iterator[Finding]]        # of a function and a generator


def code(line: str) -> Both:
    """A hint that is code: the same in both languages."""
    return line, line


class Mistake(NamedTuple):
    """A formula that is taken for the right one: what to call it, and what it computes."""

    en: str
    zh: str
    wrong: Callable


class Exercise(NamedTuple):
    lesson: int
    kind: str                   # one of KINDS
    write: str                  # what the student writes: "softmax(S, mask=None) -> A"
    task: Both                  # what it computes, with the shapes
    check: Check                # see equations.py and loops.py
    hints: tuple[Both, ...]     # from a nudge to nearly the solution

    @property
    def name(self) -> str:
        return self.write.partition("(")[0]

    @property
    def arguments(self) -> str:
        """The parameters as a student reads them."""
        return re.search(r"\((.*?)\) ->", self.write)[1]

    def findings(self, function: Callable, rng: np.random.Generator, **own: Callable) -> Iterator[Finding]:
        """Case by case, from easy to hard. `own` goes to the check: a backward's own_forward."""
        needed = [part for part in self.arguments.split(", ") if "=" not in part]
        problem = self._misfit(function, needed)
        if problem:
            yield Finding("the call", False, problem)
        else:
            yield from self.check(function, rng, **own)

    def _misfit(self, function: Callable, needed: list[str]) -> str:
        try:
            inspect.signature(function)
        except (TypeError, ValueError):     # not callable, or without a signature, as some of NumPy's own
            return "" if callable(function) else (
                f"check needs the function itself, not what it returns: check(\"{self.name}\", {self.name}); "
                f"it was given a {type(function).__name__}")
        return misfit(function, (None,) * len(needed), {}, self.arguments)


class Draw:
    """Normal draws of a shape, and sizes that differ from each other."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, *shape: int, scale: float = 1.0) -> Array:
        return np.asarray(scale * self.rng.normal(size=shape))

    def sizes(self, count: int, low: int = 2, high: int = 7) -> list[int]:
        """All different: a wrong transpose cannot fit by accident."""
        return [int(n) for n in self.rng.choice(np.arange(low, high), count, replace=False)]

    def mask(self, rows: int, columns: int) -> Array:
        """True = real; every row has real entries and, from two columns on, padding too, not always at the end."""
        mask = self.rng.random((rows, columns)) < 0.6
        for row in mask:
            real, padding = self.rng.choice(columns, 2, replace=False)
            row[real], row[padding] = True, False
        return mask


def answer_of(function: Callable, case: str, *arguments: Any) -> tuple[Any, Finding | None]:
    """What the function returns for copies of the arguments; a finding where it raises, or writes into what it was given."""
    given = [_copied(x) for x in arguments]
    try:
        answer = function(*given)
    except Exception as error:  # it may raise whatever it likes: that is the finding
        broken: Broken = raised("function", function, error, "")
        return None, Finding(case, False, str(broken), raised=error)
    for now, before in zip(given, arguments, strict=True):
        if isinstance(before, np.ndarray) and not np.array_equal(now, before, equal_nan=before.dtype.kind == "f"):
            return None, Finding(case, False, "the function writes into an array that it was given; copy it first", WRITES)
    return answer, None


def _copied(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.copy()
    if isinstance(x, list):
        return [_copied(item) for item in x]
    return x
