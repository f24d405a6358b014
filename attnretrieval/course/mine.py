"""Your own equation in place of ours: read from your file, and put to the same checks.

    for mine in open_mine("my.py:attention_backward"):
        reports = mine.gradients(rng)       # your backward, case by case
        values = mine.values(rng)           # your forward against the loops of reference.py

An equation is found by the name of its functions, `attention` and `attention_backward`:

    the file has         the gradient is checked of                  the values
    the backward alone   our forward and cache with your backward    -
    both                 your forward, cache and backward            compared: a fault that is the same in both is found too
    the forward alone    -                                           compared

A forward that returns its output without a cache is compared; the backward is then given the cache of ours.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.course.cases import CASES, chosen, run_case
from attnretrieval.course.values import Value, check_values
from attnretrieval.gradcheck import Report
from attnretrieval.gradcheck.calls import described, one_line, place
from attnretrieval.inputs.files import InputError, need_file
from attnretrieval.shapes import did_you_mean

SUFFIX = "_backward"


class Mine(NamedTuple):
    file: str
    equation: str                       # a name of CASES
    forward: Callable | None            # None: ours
    backward: Callable | None           # None: the values of the forward alone are compared
    without_cache: bool = False         # the forward returns its output alone

    def values(self, rng: np.random.Generator) -> list[Value]:
        if self.forward is None:
            return []
        return list(check_values(self.equation, _paired(self.forward) if self.without_cache else self.forward, rng))

    def gradients(self, rng: np.random.Generator) -> list[Report]:
        if self.backward is None:
            return []
        forward = None if self.without_cache else self.forward
        return run_case(self.equation, rng, forward=forward, backward=self.backward)

    def __str__(self) -> str:
        """What is checked, and with what."""
        values = f"the values of {self.forward.__name__}" if self.forward else ""
        if self.backward is None:
            return f"{self.file}: {values}; there is no {self.forward.__name__}{SUFFIX}"
        text = f"{self.file}: {values}{values and ', '}the gradient of {self.backward.__name__}"
        if self.forward and not self.without_cache:
            return text
        inputs, options = _variants(self.equation)[0]
        _, cache = CASES[self.equation].forward(**inputs, **options)
        return text + f", which is given the cache of our forward, {described(cache)}"


def open_mine(where: str, equations: Sequence[str] = ()) -> list[Mine]:
    """The equation of the function in `where`, "FILE.py:FUNCTION"; with "FILE.py", those of `equations` that the file defines.

    `equations` are names of equations or of their files. One of them says what a function of another name is.
    """
    file, _, function = where.rpartition(":")
    if not file or not function.isidentifier():         # no function, or the colon of C:\my.py
        file, function = where, ""
    if Path(file).suffix != ".py":
        raise InputError(f"{file} is not named as a Python file; --mine takes FILE.py:FUNCTION")
    path = need_file(file, "the file of --mine")
    defined = {name: value for name, value in vars(_load(path)).items() if inspect.isfunction(value)
               and not (value.__module__ or "").startswith("attnretrieval.")}       # ours may be imported there
    there = ", ".join(defined) or "no function"
    if function and function not in defined:
        raise InputError(f"{path} defines no function {function}; it defines {there}{did_you_mean(function, defined)}")
    if function:
        return [_one(path, defined, function, _equation_of(function, equations))]
    found = {name: both[0] for name in chosen(equations)
             if (both := [f for f in (name + SUFFIX, name) if f in defined])}
    if not equations:
        raise InputError(f"which function of {path}? write --mine {path}:FUNCTION, where FUNCTION is one of "
                         f"{', '.join(found.values()) or there}")
    if not found:
        raise InputError(f"{path} defines neither {equations[0]}{SUFFIX} nor {equations[0]}; it defines {there}")
    return [_one(path, defined, function, name) for name, function in found.items()]


def _equation_of(function: str, equations: Sequence[str]) -> str:
    """The equation that the function is of: by its name, or the one that `equations` leaves."""
    names, stem = chosen(equations), function.removesuffix(SUFFIX)
    if stem in names:
        return stem
    if len(equations) == 1 and (equations[0] in CASES or len(names) == 1):
        return equations[0] if equations[0] in CASES else next(iter(names))
    close = did_you_mean(function, [*names, *(name + SUFFIX for name in names)])
    raise InputError(f"{function} does not say which equation it is{close}; name the equation before --mine: one of "
                     f"{', '.join(names)}")


def _one(path: Path, defined: dict[str, Callable], function: str, equation: str) -> Mine:
    """The function and its other half, where the file has one."""
    stem = function.removesuffix(SUFFIX)
    backward = stem != function or (function != equation and _looks_backward(defined[function]))
    halves = (stem, equation) if backward else (stem + SUFFIX, equation + SUFFIX)
    other = next((defined[name] for name in halves if name in defined and name != function), None)
    pair = (other, defined[function]) if backward else (defined[function], other)
    for mine, ours in zip(pair, CASES[equation][:2], strict=True):
        if mine is not None:
            _check_arguments(path, mine, ours, equation)
    return Mine(str(path), equation, *pair, pair[0] is not None and _returns_no_cache(pair[0], equation))


def _looks_backward(function: Callable) -> bool:
    names = list(inspect.signature(function).parameters)
    return len(names) == 2 and (names[0].startswith("d_") or names[1] == "cache")


def _check_arguments(path: Path, mine: Callable, ours: Callable, equation: str) -> None:
    """A forward is called by the names of the inputs, a backward with d_out and cache in this order.

    A forward may lack what only some cases pass, such as a mask: it fails those.
    """
    backward = ours is CASES[equation].backward
    wanted = inspect.signature(ours).parameters.values()
    if backward:
        problem = misfit(mine, (None, None), {}, "d_out, cache")
    else:
        calls = [{**inputs, **options} for inputs, options in _variants(equation)]
        always = {name: None for name in calls[0] if all(name in call for call in calls)}
        problem = misfit(mine, (), always, ", ".join(map(_written, wanted)))
    if problem:
        line = inspect.unwrap(mine).__code__.co_firstlineno
        raise InputError(f"{path} line {line}: {problem}" + ("" if backward else "; inputs come by these names"))


def misfit(function: Callable, positional: Sequence[Any], named: Mapping[str, Any], expected: str) -> str:
    """Why the function cannot be called so; "" where it can. `expected` are the parameters as a student reads them."""
    signature = inspect.signature(function)
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        name, here = name_of(function), ", ".join(map(_written, signature.parameters.values()))
        return f"{name}({here}) cannot be called as {name}({expected}): {error}"
    return ""


def name_of(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _written(p: inspect.Parameter) -> str:
    name = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "") + p.name
    return name if p.default is p.empty else f"{name}={p.default!r}"


# --- a forward without a cache -----------------------------------------------------------------------------------------


def _variants(equation: str) -> list[tuple[dict, dict]]:
    """(inputs, options) of every case."""
    return list(CASES[equation].make(np.random.default_rng(0), np.float64).values())


def _returns_no_cache(forward: Callable, equation: str) -> bool:
    inputs, options = _variants(equation)[0]
    try:
        return isinstance(forward(**inputs, **options), np.ndarray | np.generic)
    except Exception:  # the checks will say so
        return False


def _paired(forward: Callable) -> Callable:
    @functools.wraps(forward)
    def with_cache(**arguments: Any) -> tuple[Any, None]:
        return forward(**arguments), None
    return with_cache


# --- the file ----------------------------------------------------------------------------------------------------------


def _load(path: Path) -> ModuleType:
    """The file as a module of its own, which finds the files beside it, as `python FILE` does; nothing is written there."""
    module = ModuleType(f"mine.{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module               # dataclasses look their module up
    folder = str(path.resolve().parent)
    try:
        source = importlib.util.decode_source(path.read_bytes())
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not in UTF-8; save it so, or name its encoding in the first line, as in "
                         "# -*- coding: gbk -*-") from error
    sys.path.insert(0, folder)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        text = f", `{error.text.strip()}`" if error.text and error.text.strip() else ""
        raise InputError(f"{error.filename} line {error.lineno}: {type(error).__name__}{text}: {error.msg}") from error
    except SystemExit as error:
        raise InputError(f"{path} ends the program when it is loaded,{place(str(path), error)}; what is no definition goes "
                         'under if __name__ == "__main__":') from error
    except Exception as error:  # whatever a file raises when it is loaded
        raise InputError(f"{path} cannot be loaded: {type(error).__name__}{place(str(path), error)}: "
                         f"{one_line(error)}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module
