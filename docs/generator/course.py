"""Which lessons and exercises belong to an equation: read from the notebooks, so that no second list can go stale.

A lesson belongs to the equations whose numbered lines it shows, `\\tag{attention (2)}`, and to those that its code imports. An
exercise belongs to the equation whose numbered lines it shows, and to the one whose function it is named after.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from generator.words import words

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SHEET = "exercises"
EXERCISE = re.compile(r"^## [^`\n]*`(\w+)\((?:.(?!^## ))*", re.DOTALL | re.MULTILINE)      # from one heading to the next


class Notebook(NamedTuple):
    name: str
    title: str
    text: str
    code: str

    @property
    def lesson(self) -> int:
        return int(self.name.partition("_")[0])

    @property
    def link(self) -> str:
        """From a page of equations/."""
        return f"[{self.title}](../lessons/{self.name}.ipynb)"


@cache
def notebooks(language: str) -> list[Notebook]:
    found = []
    for path in sorted((NOTEBOOKS / language).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text, code = ("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)
                      for kind in ("markdown", "code"))
        found.append(Notebook(path.stem, re.search(r"^# (.*)", text, re.MULTILINE)[1], text, code))
    return found


def lessons(language: str) -> list[Notebook]:
    return [notebook for notebook in notebooks(language) if SHEET not in notebook.name]


def sheets(language: str) -> dict[int, Notebook]:
    """The exercises of each lesson."""
    return {notebook.lesson: notebook for notebook in notebooks(language) if SHEET in notebook.name}


def lessons_of(equation: str, language: str) -> list[Notebook]:
    used = re.compile(rf"attnretrieval\.equations(\.{equation} import| import {equation}\b)")
    return [lesson for lesson in lessons(language) if _shows(lesson.text, equation) or used.search(lesson.code)]


def exercises_of(module: ModuleType, language: str) -> list[tuple[str, Notebook]]:
    """Name and sheet."""
    equation = module.__name__.rpartition(".")[2]
    return [(match[1], sheet) for sheet in sheets(language).values() for match in EXERCISE.finditer(sheet.text)
            if getattr(vars(module).get(match[1]), "__module__", None) == module.__name__ or _shows(match[0], equation)]


def _shows(text: str, equation: str) -> bool:
    return bool(re.search(rf"\\tag\{{{equation}\b", text))


def index(language: str) -> str:
    """The page of the course: its lessons, each with its exercises."""
    say, of_lesson = words(language), sheets(language)
    table, tree = [], []
    for lesson in lessons(language):
        row = [notebook for notebook in (lesson, of_lesson.get(lesson.lesson)) if notebook]
        table.append(f"| {' | '.join(f'[{notebook.title}]({notebook.name}.ipynb)' for notebook in row)} |")
        tree += [notebook.name for notebook in row]
    return "\n".join([f"# {say.course}", "", say.about_course, "", f"| {say.lesson} | {say.exercises} |", "|---|---|", *table,
                      "", "```{toctree}", ":hidden:", "", *tree, "```", ""])
