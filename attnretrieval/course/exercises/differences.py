"""How an answer differs from what is expected, whatever it is: numbers, arrays, tuples, lists, dicts, text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from attnretrieval.gradcheck.calls import a_kind

TOLERANCE = 1e-9
SMALL = 20                  # numbers of a case that a message shows


def difference(answer: Any, expected: Any) -> str:
    """How an answer differs from what is expected; "" where it does not."""
    if isinstance(expected, str):
        return "" if isinstance(answer, str) and answer == expected else f"expected {expected!r}, got {answer!r}"
    if isinstance(expected, Mapping):
        return _of_mapping(answer, expected)
    if isinstance(expected, tuple | list) and isinstance(answer, np.ndarray) and answer.ndim:
        answer = list(answer)           # np.percentile and np.argwhere give arrays where a pair or a list of pairs is meant
    if isinstance(expected, tuple):
        if not isinstance(answer, tuple | list) or len(answer) != len(expected):
            return _returned(answer, f"{len(expected)} results")
        problems = ((i, difference(*pair)) for i, pair in enumerate(zip(answer, expected, strict=True), start=1))
        return next((f"result {i}: {problem}" for i, problem in problems if problem), "")
    if isinstance(expected, list) and any(isinstance(item, str | tuple) for item in expected):
        if not isinstance(answer, tuple | list):
            return _returned(answer, "a list")
        if len(answer) != len(expected):
            return f"{len(answer)} entries, expected {len(expected)}"
        problems = ((i, difference(*pair)) for i, pair in enumerate(zip(answer, expected, strict=True)))
        return next((f"entry {i}: {problem}" for i, problem in problems if problem), "")
    return _of_numbers(answer, np.asarray(expected))


def _of_mapping(answer: Any, expected: Mapping) -> str:
    if not isinstance(answer, Mapping):
        return _returned(answer, "a dict")
    for key, value in expected.items():
        if key not in answer:
            return f"no entry {key!r}; there is {', '.join(map(repr, list(answer)[:3])) or 'none'}"
        problem = difference(answer[key], value)
        if problem:
            return f"entry {key!r}: {problem}"
    extra = [key for key in answer if key not in expected]
    return f"an entry {extra[0]!r} that should not be there" if extra else ""


def _of_numbers(answer: Any, expected: np.ndarray) -> str:
    wanted = "a number" if expected.ndim == 0 else f"an array of shape {expected.shape}"
    try:
        got = np.asarray(answer)
    except ValueError:          # rows of different lengths
        got = np.asarray(None)
    if got.dtype.kind not in "fiub":
        return _returned(answer, wanted)
    if got.dtype.kind != "b" and expected.dtype.kind == "b":
        return f"the answer holds {got.dtype}, expected True and False: a mask is an array of bool"
    if got.shape != expected.shape:
        return f"the answer has shape {got.shape}, expected {wanted}" if got.ndim else f"one number, expected {wanted}"
    truth = expected.dtype.kind == "b"
    got, right = got.astype(np.float64), expected.astype(np.float64)
    finite = np.abs(right[np.isfinite(right)])
    scale = float(finite.max()) if finite.size else 1.0
    wrong = ~np.isclose(got, right, rtol=0, atol=TOLERANCE * max(scale, 1e-300), equal_nan=True)
    if not wrong.any():
        return ""
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"{int(wrong.sum())} of {wrong.size} values are wrong, the first at {list(first)}: " if first else ""
    nan = "; nan, not a number, comes of 0/0, ∞ - ∞ or 0 · ∞" if np.isnan(got[first]) else ""
    wanted, found = (str(bool(x)) if truth else f"{x:.6g}" for x in (right[first], got[first]))
    return f"{where}expected {wanted}, got {found}{nan}"


def _returned(answer: Any, wanted: str) -> str:
    return f"the function returned {a_kind(answer)}, expected {wanted}" + ("; is its return missing?" if answer is None else "")


def shown(arguments: Sequence[Any]) -> str:
    """The arguments of a case, where they are few numbers."""
    arrays = [np.asarray(x) for x in arguments if isinstance(x, np.ndarray | int | float)]
    if len(arrays) != len(arguments) or sum(x.size for x in arrays) > SMALL:
        return ""
    texts = [np.array2string(x, precision=3, separator=", ").replace("\n", "") for x in arrays]
    return "; it was given " + ", ".join(" ".join(text.split()) for text in texts)
