"""What happened in this session: which exercises were tried and solved, and how many hints were asked for."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attnretrieval.course.check import Answer

LANGUAGES = {"en": 0, "zh": 1}


@dataclass
class Tried:
    checks: int = 0
    solved: bool = False        # at least once
    hints: int = 0


@dataclass
class Session:
    exercises: dict[str, Tried] = field(default_factory=dict)

    def of(self, name: str) -> Tried:
        return self.exercises.setdefault(name, Tried())

    def record(self, answer: Answer) -> None:
        tried = self.of(answer.name)
        tried.checks += 1
        tried.solved |= answer.passed


session = Session()


class Shown:
    """Text where it is printed, HTML in a notebook."""

    def __init__(self, text: str, page: str) -> None:
        self.text, self.page = text, page

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.page


def hint(name: str, language: str | None = None) -> Shown:
    """The next hint for an exercise, from a nudge to nearly the solution; the last one again when there is no other.

    `language` is "en" or "zh"; without it, both.
    """
    from attnretrieval.course.exercises import find
    from attnretrieval.shapes import check_choice

    if language is not None:
        check_choice("language", language, list(LANGUAGES))
    hints = find(name).hints
    tried = session.of(name)
    tried.hints = min(tried.hints + 1, len(hints))
    both = hints[tried.hints - 1]
    count = f"{tried.hints}/{len(hints)}"
    titles = (f"{name}, hint {count}", f"{name}，提示 {count}")
    chosen = [language] if language else list(LANGUAGES)
    told = [(titles[LANGUAGES[one]], both[LANGUAGES[one]]) for one in chosen]
    page = "".join(f'<p style="margin:4px 0"><b>{html.escape(title)}</b><br>{html.escape(words)}</p>' for title, words in told)
    return Shown("\n".join(f"{title}: {words}" for title, words in told), f"<div>{page}</div>")


def progress() -> Shown:
    """What is solved in this session, lesson by lesson."""
    from attnretrieval.course.exercises import EXERCISES

    lessons = sorted({exercise.lesson for exercise in EXERCISES.values()})
    lines, rows = [], []
    for lesson in lessons:
        names = [name for name, exercise in EXERCISES.items() if exercise.lesson == lesson]
        solved = sum(session.of(name).solved for name in names)
        lines.append(f"lesson {lesson}: {solved} of {len(names)} solved")
        rows.append(f'<tr><th colspan="4" style="text-align:left">lesson {lesson} · 第 {lesson} 课：'
                    f"{solved} / {len(names)}</th></tr>")
        for name in names:
            tried = session.of(name)
            state = "solved" if tried.solved else "tried" if tried.checks else ""
            sign = {"solved": "✓", "tried": "…", "": ""}[state]
            counts = f"  {_count(tried.checks, 'check')}, {_count(tried.hints, 'hint')}" if tried.checks or tried.hints else ""
            lines.append(f"  {sign or '-'} {name:<28} {state:<6}{counts}")
            rows.append(f'<tr><td>{sign}</td><td style="text-align:left">{html.escape(name)}</td>'
                        f"<td>{tried.checks}</td><td>{tried.hints}</td></tr>")
    head = "<tr><th></th><th>exercise · 练习</th><th>checks · 检查</th><th>hints · 提示</th></tr>"
    return Shown("\n".join(line.rstrip() for line in lines), f"<table>{head}{''.join(rows)}</table>")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
