"""The pages of the API: one for each part of the package, with every public module, class and function in it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

import attnretrieval
from generator.docstrings import to_rst
from generator.words import words

# in the order of the README's "Read the code"; a part that is new comes behind
ORDER = ("equations", "attnretrieval", "fast", "gradcheck", "inputs", "training", "retrieval", "figures", "course", "verbs")


@cache
def parts() -> dict[str, list[str]]:
    """Part of the package → its modules. The files beside the folders are the part "attnretrieval"."""
    found: dict[str, list[str]] = {"attnretrieval": ["attnretrieval"]}
    for module in pkgutil.walk_packages(attnretrieval.__path__, "attnretrieval."):
        _, part, *inner = module.name.split(".")
        if any(name.startswith("_") for name in (part, *inner)):
            continue
        found.setdefault(part if inner or module.ispkg else "attnretrieval", []).append(module.name)
    return dict(sorted(found.items(), key=lambda item: (ORDER.index(item[0]) if item[0] in ORDER else len(ORDER), item[0])))


def pages(language: str) -> dict[str, str]:
    made = {f"api/{part}.rst": _page(part, modules) for part, modules in parts().items()}
    say = words(language)
    rows = [f"* - :doc:`{part}`\n  - {_first_sentence(part)}" for part in parts()]
    made["api/index.rst"] = "\n".join([
        say.api, "=" * 2 * len(say.api), "", *say.about_api, "", ".. list-table::", "   :widths: 20 80", "",
        *("   " + line for row in rows for line in row.splitlines()), "",
        ".. toctree::", "   :hidden:", "", *(f"   {part}" for part in parts()), ""])
    return made


def _page(part: str, modules: list[str]) -> str:
    lines = [_title(part, "=")]
    for module in modules:
        lines += [_title(module, "-"), f".. automodule:: {module}", ""]
    return "\n".join(lines)


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _first_sentence(part: str) -> str:
    doc = inspect.getdoc(importlib.import_module("attnretrieval" if part == "attnretrieval" else f"attnretrieval.{part}")) or ""
    return " ".join(to_rst(doc.split("\n\n")[0].splitlines())).strip()
