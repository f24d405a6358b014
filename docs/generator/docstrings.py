"""Docstrings of plain text, in the form that Sphinx reads.

The package's docstrings are written to be read in a file: paragraphs, names in `single backticks`, formulas and tables as
indented blocks that line up. A block becomes a literal block and keeps its layout; what stands in backticks becomes code;
everything else is text, whatever * or _ mean in reStructuredText.
"""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

CODE = re.compile(r"`([^`]+)`")
SPECIAL = re.compile(r"([\\*_|`])")
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")
INDENT = "   "


def process(app, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """For autodoc's event of that name: changes the lines in place."""
    if inspect.isclass(thing) and lines and lines[0].startswith(f"{thing.__name__}("):
        lines[:] = []                       # what Python writes for a NamedTuple or a dataclass: its signature once more
    lines[:] = to_rst(lines)


def skip(app, what: str, name: str, thing: Any, would_skip: bool, options: Any) -> bool | None:
    """The fields of a NamedTuple stand in its signature already."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def show_alias(app, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None) -> tuple:
    """`Array` stands for the arrays of two packages: shown by its name, without what Python wraps around it."""
    return tuple(text and ALIAS.sub(r"\1", text) for text in (signature, returns))


def to_rst(lines: list[str]) -> list[str]:
    result = []
    for chunk in _chunks(lines):
        is_list = chunk[0].startswith("- ")
        for indented, group in itertools.groupby(chunk, key=lambda line: _is_indented(line) and not is_list):
            block = list(group)
            if indented:
                result += ["::", "", *(INDENT + line for line in block), ""]
            else:
                result += [*map(_text, block), ""]
    return result


def _chunks(lines: list[str]) -> list[list[str]]:
    """Paragraphs; indented ones that follow each other are one."""
    chunks: list[list[str]] = []
    blank = True
    for line in lines:
        if not line.strip():
            blank = True
            continue
        if blank and chunks and _is_indented(line) and _is_indented(chunks[-1][-1]) and not chunks[-1][0].startswith("- "):
            chunks[-1] += ["", line]
        elif blank:
            chunks.append([line])
        else:
            chunks[-1].append(line)
        blank = False
    return chunks


def _is_indented(line: str) -> bool:
    return not line or line.startswith("  ")


def _text(line: str) -> str:
    """One line of prose: code in double backticks, the rest without any meaning to reStructuredText."""
    parts = CODE.split(line)
    parts[::2] = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"\\ ``{part}``\\ " for part in parts[1::2]]
    return "".join(parts)
