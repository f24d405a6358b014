"""Grades a folder of submissions: notebooks or Python files, each run in a process of its own.

Nothing of a submission is executed here. A submission that never ends, asks for more memory than there may be, calls exit, is
no notebook or does not compile gets a row with the reason, and the others are graded all the same. What is right in it counts:
where a cell or an exercise ends the whole process, it is run again without that part. See submission.py.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from attnretrieval.inputs.files import InputError, make_parents

KINDS = (".ipynb", ".py")
SKIPPED = {"__pycache__"}       # and folders that begin with a dot
AGAIN = 3                       # times that a submission is run again without the part that ended it
NOTES = 3                       # that a reason tells; JSON has all
# one thread each, no window, the same order of sets
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg",
               "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


@dataclass(frozen=True)
class Limits:
    seconds: float = 20         # of one cell, and of one exercise
    total: float = 300          # seconds of one submission
    memory: int = 2048          # MB


@dataclass
class Row:
    submission: str
    passed: dict[str, bool] = field(default_factory=dict)       # exercises that the submission has
    messages: dict[str, str] = field(default_factory=dict)
    mistakes: dict[str, str] = field(default_factory=dict)      # one line for each exercise that is not right
    notes: list[str] = field(default_factory=list)              # what went wrong, in order

    @property
    def total(self) -> int:
        return sum(self.passed.values())

    @property
    def reason(self) -> str:
        more = len(self.notes) - NOTES
        return "; ".join(self.notes[:NOTES]) + (f"; and {more} more" if more > 0 else "")

    def to_json(self) -> dict[str, Any]:
        return {"submission": self.submission, "total": self.total, "passed": self.passed, "mistakes": self.mistakes,
                "messages": self.messages, "notes": self.notes}


def find_submissions(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Name → file, in order. In a folder all notebooks and Python files, those of its folders too."""
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix in KINDS and file.is_file() and not any(
                part.startswith(".") or part in SKIPPED for part in file.relative_to(path).parts)]
            if not inside:
                raise InputError(f"{path} holds no submission: no file that ends in {' or '.join(KINDS)}")
            named = [(file.relative_to(path).as_posix(), file) for file in inside]
        elif path.exists():
            named = [(path.name, path)]
        else:
            raise InputError(f"{path} is neither a file nor a folder")
        for name, file in named:        # two folders may hold files of one name
            found[name if found.get(name, file) == file else file.as_posix()] = file
    return found


def grade(submissions: dict[str, Path], exercises: Sequence[str], *, seed: int = 0, limits: Limits | None = None,
          jobs: int = 1) -> list[Row]:
    """One row a submission, in the order of `submissions`; `jobs` run side by side."""
    one = partial(_grade_one, exercises=exercises, seed=seed, limits=limits or Limits())
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, submissions, submissions.values()))


def _grade_one(name: str, file: Path, exercises: Sequence[str], seed: int, limits: Limits) -> Row:
    options = ["--seed", str(seed), "--seconds", str(limits.seconds), "--memory", str(limits.memory),
               "--exercises", ",".join(exercises)]
    ends: dict[str, str] = {}           # cell or exercise → how it ended the process
    for _ in range(1 + AGAIN):
        skipped = [word for label in ends for word in ("--skip", label)]
        ended, lines = _run(file, [*options, *skipped], limits.total)
        at = [line["at"] for line in lines if "at" in line]
        if any("done" in line for line in lines):
            break
        ends[at[-1] if at else "the start"] = ended
        if not at:
            break
    row = Row(name, notes=[f"{ended} during {at}" for at, ended in ends.items()])
    for line in lines:
        if "note" in line:
            row.notes.append(line["note"])
        if "exercise" in line:
            row.passed[line["exercise"]], row.messages[line["exercise"]] = line["passed"], line["message"]
            if line["mistake"]:
                row.mistakes[line["exercise"]] = line["mistake"]
    if not row.passed and not row.notes:
        row.notes.append("defines none of the exercises")
    return row


def _run(file: Path, options: Sequence[str], seconds: float) -> tuple[str, list[dict[str, Any]]]:
    """How the process ended, and what it found."""
    package = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        result, work = Path(folder, "result.jsonl"), Path(folder, "work")
        work.mkdir()                    # where it runs: a file of others is not in reach of a short name
        process = subprocess.Popen(
            [sys.executable, "-m", "attnretrieval.course.submission", str(file.resolve()), str(result), *options],
            cwd=work, env={**os.environ, **ENVIRONMENT, "PYTHONPATH": paths}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait(seconds)
            ended = f"the process ended by itself (code {code})" if code >= 0 else f"the process was ended by signal {-code}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {seconds:g} s"
        finally:
            _end(process)
        return ended, _read(result)


def _end(process: subprocess.Popen) -> None:
    """Ends it and what it started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)      # its group, since it leads a session of its own
        except ProcessLookupError:
            pass
    else:
        process.kill()
    process.wait()


def _read(result: Path) -> list[dict[str, Any]]:
    """The lines that are whole: the last may be cut off."""
    if not result.exists():
        return []
    lines = []
    for text in result.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return [line for line in lines if isinstance(line, dict)]


def write_csv(path: str | Path, rows: Sequence[Row], exercises: Sequence[str]) -> None:
    """A row a submission; 1 right, 0 wrong, empty where it has no such function.

    "mistakes" says what is wrong with a function, "reason" what kept the submission from running. The file begins with the mark
    by which spreadsheets know that it is UTF-8.
    """
    with make_parents(path).open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["submission", "total", *exercises, "mistakes", "reason"])
        for row in rows:
            mistakes = "; ".join(f"{exercise}: {mistake}" for exercise, mistake in row.mistakes.items())
            cells = [row.submission, row.total, *(int(row.passed[e]) if e in row.passed else "" for e in exercises), mistakes,
                     row.reason]
            writer.writerow([_plain(cell) for cell in cells])


def _plain(cell: Any) -> Any:
    """A spreadsheet takes a text that begins so for a formula, and runs it."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@")) else cell


def table(rows: Sequence[Row], exercises: Sequence[str]) -> str:
    width = max(map(_columns, ["submission", *(row.submission for row in rows)]))
    lines = [f"{'submission':<{width}}  of {len(exercises):<3}  reason"]
    for row in rows:
        gap = " " * (width - _columns(row.submission))
        lines.append(f"{row.submission}{gap}  {row.total:>6}  {row.reason}".rstrip())
    return "\n".join(lines)


def _columns(text: str) -> int:
    """That a terminal needs: a Chinese character takes two."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in text)
