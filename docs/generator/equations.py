"""The page of an equation: what follows its derivation is made from the package.

The derivation is written by hand, docs/<language>/derivations/<equation>.md; it must show every numbered line of the equation's
docstring as a formula with the same number, `\\tag{attention (2)}`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import attnretrieval.equations
from attnretrieval.course.cases import chosen
from attnretrieval.gradcheck.compare import DIFFERENCE_TOLERANCE
from generator.course import exercises_of, lessons_of
from generator.gradchecks import checked
from generator.words import words

NO_EQUATION = ("axes",)
NUMBERED = re.compile(r"^ .*?\((\d)\)  ", re.MULTILINE)         # an indented line with its number
BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)
DISPLAY = re.compile(r"^\$\$(.*?)\$\$", re.DOTALL | re.MULTILINE)
TAG = r"\\tag\{%s\b[^}]*\((\d)\)\}"


@cache
def names() -> list[str]:
    """The equations, in the order in which a retriever uses them: that of the cases."""
    files = {found.name for found in pkgutil.iter_modules(attnretrieval.equations.__path__)} - set(NO_EQUATION)
    order = list(dict.fromkeys(case.file for case in chosen().values()))
    return sorted(files, key=order.index)


def module(equation: str) -> ModuleType:
    return importlib.import_module(f"attnretrieval.equations.{equation}")


def problem(equation: str, derivation: str) -> str:
    """What a derivation lacks; "" where it is complete."""
    wanted = Counter(NUMBERED.findall(inspect.getdoc(module(equation))))
    shown = Counter(re.findall(TAG % equation, derivation))
    missing = [rf"\tag{{{equation} ({number})}}" for number, count in wanted.items() if shown[number] < count]
    return "" if not missing else (f"each numbered line of attnretrieval/equations/{equation}.py needs its formula; missing: "
                                   + ", ".join(missing))


def body(equation: str, language: str) -> str:
    """Markdown that follows the derivation, with links as in its file: code, gradient check, course and tests."""
    return "\n".join(["", *_code(equation, language), *_check(equation, language), *_links(equation, language), ""])


def _code(equation: str, language: str) -> list[str]:
    say, parts = words(language), _parts(module(equation))
    formulas = textwrap.dedent("\n".join(BLOCK.findall(inspect.getdoc(module(equation)) + "\n"))).strip("\n")
    lines = [f"## {say.code}", "", say.about_code.format(file=f"attnretrieval/equations/{equation}.py"), "",
             "```text", formulas, "```", ""]
    passes = [(name, f"{name}_backward") for name in parts if f"{name}_backward" in parts]
    for forward, backward in passes:
        lines += [f"### {say.forward_backward.format(forward=forward)}", "", *_python(parts.pop(forward), parts.pop(backward))]
    if passes and parts:
        lines += [f"### {say.rest}", ""]
    return lines + (_python(*parts.values()) if parts else [])


def _parts(file: ModuleType) -> dict[str, str]:
    """Name → source, of everything in a file below its imports."""
    source = inspect.getsource(file)
    lines = source.splitlines()
    parts = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom):
            name = getattr(node, "name", "") or ast.unparse(node)
            parts[name] = "\n".join(lines[node.lineno - 1:node.end_lineno])
    return parts


def _python(*parts: str) -> list[str]:
    return ["```python", "\n\n\n".join(parts), "```", ""]


def _check(equation: str, language: str) -> list[str]:
    say = words(language)
    lines = [f"## {say.check}", "", say.about_check.format(equations=equation, difference=f"{DIFFERENCE_TOLERANCE:.0e}")]
    for name in chosen([equation]):
        rows = checked(name)
        options = any(row.options for row in rows)
        head = [say.case, *([say.options] if options else []), say.shapes, say.complex_step, say.difference, say.limit]
        lines += [f"**`{name}`**", "", "```{table}", ":class: check", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in rows:
            choice = [f"`{row.options}`" if row.options else ""] if options else []
            cells = [row.label, *choice, row.shapes.replace("_", r"\_"), *(
                f"{error:.1e}" for error in (row.complex_error, row.difference_error, row.limit))]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["```", ""]
    return lines


def _links(equation: str, language: str) -> list[str]:
    say = words(language)
    exercises: dict[str, list[str]] = {}
    for name, sheet in exercises_of(module(equation), language):
        exercises.setdefault(sheet.link, []).append(f"`{name}`")
    test = f"tests/equations/test_{equation}.py"
    rows = {
        say.lessons: say.comma.join(lesson.link for lesson in lessons_of(equation, language)),
        say.exercises: "; ".join(f"{link}: {', '.join(found)}" for link, found in exercises.items())
                       or say.no_exercise.format(name=chosen([equation]).popitem()[0]),
        say.users: say.comma.join(_users(equation)),
        say.test: f"[{test}](../../../{test})",
        say.source: f"[attnretrieval/equations/{equation}.py](../../../attnretrieval/equations/{equation}.py)",
    }
    return [f"## {say.more}", "", *(f"- **{key}**{say.colon}{value}" for key, value in rows.items() if value)]


@cache
def _users(equation: str) -> list[str]:
    """Links to the files of the package that import an equation. The course, which checks it, and fast/ are left out."""
    package = Path(attnretrieval.__file__).parent
    imports = re.compile(rf"^from attnretrieval\.equations(\.{equation} import| import {equation}\b)", re.MULTILINE)
    names = [path.relative_to(package).as_posix() for path in sorted(package.rglob("*.py"))
             if imports.search(path.read_text(encoding="utf-8"))]
    return [f"{{py:mod}}`{name} <attnretrieval.{name.removesuffix('.py').replace('/', '.')}>`" for name in names
            if not name.startswith(("course/", "fast/"))]


def index(language: str, derivations: dict[str, Path]) -> str:
    """The page of all equations: a table with formulas and lessons."""
    say = words(language)
    lines = [f"# {say.equations}", "", say.about_equations, "", "```{list-table}", ":header-rows: 1", ":widths: 20 55 25", "",
             f"* - {say.equation}", f"  - {say.formula}", f"  - {say.lessons}"]
    for name, path in derivations.items():
        text = path.read_text(encoding="utf-8") if path.is_file() else f"# {name}"
        title = re.search(r"^# (.*)", text, re.MULTILINE)[1]
        every = [" ".join(formula.split()) for formula in DISPLAY.findall(text)]
        formulas = [formula for formula in every if re.search(TAG % name, formula)] or every[:1]
        shown = "\n    ".join(f"$${re.sub(TAG % name, '', formula).strip()}$$\n" for formula in formulas)
        where = [lesson.link for lesson in lessons_of(name, language)] or [
            say.no_lesson.format(files=say.comma.join(_users(name)))]
        lines += [f"* - [{title}]({name}.md)", f"  - {shown}", "  - " + "\n\n    ".join(where)]
    return "\n".join([*lines, "```", "", "```{toctree}", ":hidden:", "", *derivations, "```", ""])
