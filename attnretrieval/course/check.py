"""Exercises that grade themselves.

    from attnretrieval.course import check, hint, progress

    check("attention_backward", my_function)        what is wrong with it, or that it is right
    hint("attention_backward")                      a hint; the next one, a little clearer, each time
    progress()                                      what is solved in this session, lesson by lesson

`check` draws new shapes and new numbers each time: nothing is hidden, so nothing can leak. It goes from easy cases to hard ones
and stops at the first that is wrong. Its answer is text where it is printed, HTML in a notebook, and true where it is right:
`assert check("softmax", softmax)` is a test.

A backward is checked by the gradient checker. It is called as f(d_out, cache) and may return its gradients as a NamedTuple, a
dict with d_Q, d_K, ..., a tuple in the order of the inputs, or as one array where there is one.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnretrieval.course.exercises.exercise import Finding

SEEDS = 1_000_000


@dataclass(repr=False)
class Answer:
    """What `check` found. `passed` is all that a test needs."""

    name: str
    findings: list[Finding]         # one a case; only the last can be wrong
    seed: int
    printed: str = ""               # how much more the function printed than was let through

    @property
    def passed(self) -> bool:
        return bool(self.findings) and all(finding.passed for finding in self.findings)

    def __bool__(self) -> bool:
        return self.passed

    @property
    def title(self) -> str:
        if self.passed:
            return f"{self.name}: right · 正确"
        unwritten = isinstance(self.findings[-1].raised, NotImplementedError)
        return f"{self.name}: not written yet · 还没写" if unwritten else f"{self.name}: not yet right · 还不对"

    @property
    def details(self) -> str:
        """The diagnosis, and what to do next."""
        last = self.findings[-1]
        if self.passed:
            remarks = list(dict.fromkeys(f.remark for f in self.findings if f.remark))
            cases = ", ".join(finding.case for finding in self.findings)
            return "\n".join([f"on {len(self.findings)} cases: {cases}" if len(self.findings) > 1 else f"on 1 case: {cases}",
                              *(f"right, and could be better: {remark}" for remark in remarks[:1])])
        if isinstance(last.raised, NotImplementedError):
            return f'hint("{self.name}") · check("{self.name}", {self.name})'
        right = ", ".join(finding.case for finding in self.findings[:-1])
        lines = [f"case {len(self.findings)}: {last.case}" + (f" (right so far: {right})" if right else ""), str(last)]
        again = f'check("{self.name}", {self.name}, seed={self.seed})'
        return "\n".join([*lines, f'the same numbers again: {again}; a hint: hint("{self.name}")'])

    @property
    def mistake(self) -> str:
        """What is wrong, in one line, for a table; "" where nothing is."""
        last = self.findings[-1]
        if self.passed or isinstance(last.raised, NotImplementedError):
            return "" if self.passed else "not written yet"
        if last.raised is not None and not last.mistake:
            return f"raised {type(last.raised).__name__}, case {len(self.findings)}: {last.case}"
        return last.mistake[0] if last.mistake else f"case {len(self.findings)}: {last.case}"

    def __str__(self) -> str:
        body = self.details.replace("\n", "\n  ")
        return f"{self.title}\n  {body}" + (f"\n{self.printed}" if self.printed else "")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = "#0072B2" if self.passed else "#D55E00"        # told apart by the colour-blind; the words say it too
        return (f'<div style="border-left:4px solid {colour};padding:2px 0 2px 12px"><b>{html.escape(self.title)}</b>'
                f'<pre style="white-space:pre-wrap;margin:4px 0">{html.escape(self.details)}</pre></div>')


def check(name: str, function: Callable, *, forward: Callable | None = None, seed: int | None = None) -> Answer:
    """Is this function right? `name` is an exercise.

    `forward` is your own forward, where a backward shall get your cache instead of ours. `seed` draws the same shapes and
    numbers as another check with it.
    """
    import numpy as np

    from attnretrieval.course.exercises import find
    from attnretrieval.course.printed import FirstLines
    from attnretrieval.course.session import session

    exercise = find(name)
    if seed is None:
        seed = int(np.random.default_rng().integers(SEEDS))
    own = {"own_forward": forward} if forward is not None else {}
    if own and exercise.kind != "backward":
        raise ValueError(f"forward= is for a backward, {name} is a {exercise.kind}")
    output, findings = FirstLines(), []
    with output.instead():
        for finding in exercise.findings(function, np.random.default_rng(seed), **own):
            findings.append(finding)
            if not finding.passed:
                break
    answer = Answer(name, findings, seed, output.rest().rstrip())
    session.record(answer)
    return answer
