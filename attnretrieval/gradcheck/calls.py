"""Calls of a pass that may be broken: what it raises, and what it returns that is no answer, become a sentence.

    forward      gives the pair (out, cache); out is an array or a tuple of arrays
    backward     gives the gradients: as a NamedTuple or a dict with d_Q, d_K, ...; as a tuple in the order of the inputs, None
                 for an input that is None; or as one array where there is one input

`call_forward` and `call_backward` bring these into one form or raise `Broken`, which says who did what, in which line of its
file, and what it had been given:

    the backward raised ValueError in my.py line 12, `d_V = A @ d_Y`: matmul: Input operand 1 has a mismatch in its core
    dimension 0; it was given d_out (3, 2), cache AttentionCache(Q (3, 4), K (5, 4), V (5, 2), A (3, 5))
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnretrieval.backend import Array

LONGEST = 300               # characters of one part of a message
NUMBERS = "fciub"           # kinds of dtype: floats, complex numbers, integers, booleans


class Broken(Exception):
    """A pass raised, or returned something that is no answer."""

    def __init__(self, what: str, why: str, error: Exception, given: str = "") -> None:
        super().__init__(": ".join(filter(None, [what, why])) + (f"; it was given {given}" if given else ""))
        self.what = what            # who did what in which line: the same for every call that breaks alike
        self.why = why
        self.error = error          # what it raised, or a NoAnswer


class NoAnswer(TypeError):
    """What a pass returned is not what a forward or a backward returns."""


def no_answer(what: str) -> Broken:
    """Of a call that returned the wrong thing."""
    return Broken(what, "", NoAnswer(what))


# --- the two passes ----------------------------------------------------------------------------------------------------


def call_forward(forward: Callable, arguments: Mapping[str, Any]) -> tuple[Any, Any]:
    """The pair (out, cache)."""
    try:
        answer = forward(**arguments)
    except Exception as error:  # it may raise whatever it likes: that is the finding
        given = ", ".join(f"{name} {described(x)}" for name, x in arguments.items())
        raise raised("forward", forward, error, given) from error
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise no_answer(f"the forward returned {a_kind(answer)}, expected the pair (out, cache)" + _forgotten(answer))
    out, cache = answer
    for y in out if isinstance(out, tuple) and out else (out,):
        if not _is_numbers(y):
            raise no_answer(f"the forward returned {a_kind(y)} as its output, expected an array" + _forgotten(y))
    return out, cache


def call_backward(backward: Callable, d_out: Any, cache: Any, names: Sequence[str]) -> dict[str, Array | None]:
    """The gradients by the names of their inputs; `names` are the inputs that have one. None where one is missing."""
    try:
        answer = backward(d_out, cache)
    except Exception as error:  # see above
        given = f"d_out {described(d_out)}, cache {described(cache)}"
        raise raised("backward", backward, error, given) from error
    found = dict.fromkeys(names)
    for field, d_x in _by_field(answer, names).items():
        if d_x is not None and not _is_numbers(d_x):
            raise no_answer(f"the backward returned {a_kind(d_x)} as {field}, expected an array")
        found[field[2:]] = None if d_x is None else np.asarray(d_x)
    return found


def _by_field(answer: Any, names: Sequence[str]) -> dict[str, Any]:
    """d_<input> → gradient, whatever holds them."""
    fields = [f"d_{name}" for name in names]
    expected = f"expected {', '.join(fields)}"
    if len(fields) > 1:
        expected += " as a NamedTuple, a dict, or a tuple in this order"
    if hasattr(answer, "_asdict"):
        found = answer._asdict()
    elif isinstance(answer, Mapping):
        found = dict(answer)
    elif isinstance(answer, tuple | list):
        values = answer if len(answer) == len(fields) else [d_x for d_x in answer if d_x is not None]
        if len(values) != len(fields):
            none = "" if len(values) == len(answer) else f", {len(answer) - len(values)} of them None"
            raise no_answer(f"the backward returned {len(answer)} gradients{none}; {expected}"
                            + ("; None for an input that is None" if len(values) > len(fields) else ""))
        found = dict(zip(fields, values, strict=True))
    elif len(fields) == 1 and answer is not None:
        found = {fields[0]: answer}
    else:
        raise no_answer(f"the backward returned {a_kind(answer)}, {expected}" + _forgotten(answer))
    strange = [str(field) for field in found if not str(field).startswith("d_")]
    if strange:
        raise no_answer(f"the backward returned {type(answer).__name__} with {', '.join(strange)}; {expected}: "
                        "the gradient of an input is named d_ and its name")
    return found


def _forgotten(answer: Any) -> str:
    if answer is None:
        return "; is its return missing?"
    if answer is NotImplemented or answer is Ellipsis:
        return "; is it not written yet?"
    return ""


# --- in words ----------------------------------------------------------------------------------------------------------


def raised(who: str, function: Callable, error: Exception, given: str) -> Broken:
    what = f"the {who} raised {type(error).__name__}{place(file_of(function), error)}"
    return Broken(what, one_line(error), error, given)


def one_line(error: BaseException) -> str:
    return shortened(" ".join(str(error).split()))


def place(file: str | None, error: BaseException) -> str:
    """" in my.py line 12, `d_V = A @ d_Y`": the last line of `file` that the error passed on its way."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if not frames:
        return ""
    line = shortened(frames[-1].line or "")
    where = "the cell," if "ipython" in file or "ipykernel" in file else Path(file).name
    return f" in {where} line {frames[-1].lineno}" + (f", `{line}`" if line else "")


def file_of(function: Callable) -> str | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code and code.co_filename


def a_kind(x: Any) -> str:
    """"a str", "an array of objects", "a tuple of 3": what something is, where it is not what was expected."""
    if x is None:
        return "None"
    if isinstance(x, np.ndarray):
        return "an array" if x.dtype.kind in NUMBERS else f"an array of dtype {x.dtype}"
    article = "an" if type(x).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(x).__name__}" + (f" of {len(x)}" if isinstance(x, tuple | list) else "")


def described(x: Any, depth: int = 2) -> str:
    """The shape of an array, and of the arrays in a cache; what else is unusual about one: its dtype, zeros, steps."""
    if isinstance(x, np.ndarray):
        unusual = ([] if x.dtype == np.float64 else [str(x.dtype)]) + (["of zeros"] if x.size and not x.any() else [])
        strided = not (x.flags.c_contiguous or x.flags.f_contiguous)
        return " ".join([str(x.shape), *unusual, *(["with steps in memory"] if strided else [])])
    if isinstance(x, tuple | list | dict):
        kind = type(x).__name__ if hasattr(x, "_asdict") else ""
        if depth == 0:
            return f"{kind}(…)"
        named = x._asdict() if kind else x
        inside = ([f"{name} {described(value, depth - 1)}" for name, value in named.items()] if isinstance(named, dict)
                  else [described(value, depth - 1) for value in named])
        return f"{kind}({shortened(', '.join(inside))})"
    if x is None or isinstance(x, bool | int | float | np.generic):
        return str(x)
    return shortened(repr(x)) if isinstance(x, str) else type(x).__name__


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST - 2] + " …"


def _is_numbers(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic | int | float) and np.asarray(x).dtype.kind in NUMBERS
