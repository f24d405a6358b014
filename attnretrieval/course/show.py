"""The code and the formulas of the package, shown in a lesson: what is read there is what runs.

    show(attention)                 its source
    formula(attention)              the equations of its file, with their numbers
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import attnretrieval

ROOT = Path(attnretrieval.__file__).parent.parent


def show(*functions: Callable) -> None:
    """Print the source of functions or classes of the package, with the file that it is from."""
    last = None
    for function in functions:
        file = _file(function)
        print("" if last is None else "\n", end="")
        if file != last:
            print(f"# {file}\n")
        print(inspect.getsource(inspect.unwrap(function)).rstrip())
        last = file


def formula(function: Callable | ModuleType) -> None:
    """Print what the file of a function says at its top: the equations in their order."""
    module = function if isinstance(function, ModuleType) else inspect.getmodule(inspect.unwrap(function))
    print(inspect.getdoc(module))


def _file(function: Callable) -> str:
    try:
        return Path(inspect.getsourcefile(inspect.unwrap(function))).resolve().relative_to(ROOT.resolve()).as_posix()
    except (TypeError, ValueError):
        raise ValueError(f"{function!r} is no function of the package; give one, such as equations.attention.attention"
                         ) from None
