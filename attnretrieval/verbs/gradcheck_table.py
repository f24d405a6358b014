"""What gradcheck prints: a row an equation, what is wrong in full once, and the totals in the last line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.course.values import Value
from attnretrieval.gradcheck import Report
from attnretrieval.gradcheck.calls import NoAnswer

WIDTHS = (20, 5, 21, 11, 6)             # a line of 80 characters
RED, GREEN, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"


class Found(NamedTuple):
    """One case, checked: the gradient of a backward or the value of a forward."""

    name: str
    passed: bool
    error: float                        # nan where it could not be computed
    text: str                           # the whole finding
    summary: str                        # in a few words
    diagnosis: dict[str, str] = {}      # input → the short name of its fault
    notes: list[str] = []               # why its error is that of the central difference


def of_report(report: Report) -> Found:
    error, notes = report.worst_error, []
    if np.isnan(error) and report.rows:
        error, notes = float(np.max([row.difference_error for row in report.rows])), report.notes
    wrong = [f"{row.name} {row.diagnosis or 'wrong'}" for row in report.rows if not row.passed]
    summary = _broke(report.raised) or ", ".join(wrong) or "; ".join(report.problems)
    return Found(report.name, report.passed, error, str(report), summary, report.diagnosis, notes)


def of_value(value: Value) -> Found:
    summary = _broke(value.raised) or "another value than the formula"
    return Found(f"value of {value.name}", value.passed, value.error, f"value of {value}", summary)


def _broke(raised: Exception | None) -> str:
    return "" if raised is None else "no answer" if isinstance(raised, NoAnswer) else f"raises {type(raised).__name__}"


# --- the table ---------------------------------------------------------------------------------------------------------


def heading() -> str:
    return _line("equation", "cases", "inputs", "worst error", "time", "verdict")


def row(equation: str, inputs: Sequence[str], found: Sequence[Found], seconds: float) -> str:
    """The cases of one equation in one line."""
    names = " ".join(inputs)
    if len(names) > WIDTHS[2]:
        names = names[:WIDTHS[2] - 1].rpartition(" ")[0] + " …"
    verdict = _coloured("ok", GREEN) if all(f.passed for f in found) else _coloured("WRONG", RED)
    return _line(equation, str(len(found)), names, _written(_worst(found)), f"{seconds:.1f} s", verdict)


def _line(equation: str, cases: str, inputs: str, error: str, seconds: str, verdict: str) -> str:
    a, b, c, d, e = WIDTHS
    return f"{equation:<{a}}  {cases:>{b}}  {inputs:<{c}}  {error:>{d}}  {seconds:>{e}}  {verdict}"


def _coloured(text: str, colour: str) -> str:
    """In colour where a person reads it: on a terminal, unless the variable NO_COLOR is set."""
    return f"{colour}{text}{PLAIN}" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


# --- what is wrong -----------------------------------------------------------------------------------------------------


def failures(found: Sequence[Found], verbose: bool) -> str:
    """The first failure in full and a line for every kind of the others, or every case in full."""
    if verbose:
        return "\n" + "".join(f"{f.text}\n\n" for f in found)
    wrong = [f for f in found if not f.passed]
    text = f"\n{wrong[0].text}\n\n" if wrong else ""
    kinds: dict[str, list[str]] = {}
    for other in wrong[1:]:
        kinds.setdefault(other.summary, []).append(other.name)
    for summary, (first, *more) in kinds.items():
        text += f"also wrong: {first}{f' and {len(more)} more' if more else ''}: {summary}\n"
    if kinds:
        text += "-v shows every case in full\n"
    notes = [f"note: {f.name}: {note}\n" for f in found if f.passed for note in f.notes]
    return text + "".join(notes[:1])


def failed(found: Sequence[Found]) -> dict[str, Any]:
    """The wrong cases for --json."""
    return {f.name: {"diagnosis": f.diagnosis, "text": f.text} for f in found if not f.passed}


# --- the totals --------------------------------------------------------------------------------------------------------


def numbers(found: Sequence[Found], seconds: float) -> dict[str, Any]:
    passed = sum(f.passed for f in found)
    return {"passed": passed, "total": len(found), "worst_error": _worst(found), "seconds": round(seconds, 2)}


def totals(result: dict[str, Any]) -> str:
    return (f"{result['passed']} of {result['total']} cases passed, worst error {_written(result['worst_error'])}, "
            f"{result['seconds']:.1f} s")


def _worst(found: Sequence[Found]) -> float | None:
    """The largest error that could be computed."""
    return max((float(f.error) for f in found if np.isfinite(f.error)), default=None)


def _written(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"
