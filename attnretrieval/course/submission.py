"""Runs one submission and checks the exercises in it. `grade` starts this as a process of its own, with limits.

    python -m attnretrieval.course.submission FILE RESULT --seed 0 --seconds 20 --memory 2048 --exercises softmax,attention

FILE is a notebook, of which only the code cells are run, or a Python file, which counts as one cell. A cell that fails does not
stop the next ones. What was found goes to RESULT line by line, as JSON, so that it is there whatever happens later:

    {"at": "cell 3"}                                            what is running now
    {"note": "cell 3 raised NameError ..."}                     what went wrong on the way
    {"exercise": "softmax", "passed": false, "message": "...", "mistake": "the mask is not used"}
    {"done": true}

This is no sandbox: the code may read files and open connections as its user may. Grade strangers in a container.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import linecache
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TextIO

from attnretrieval.course.check import check
from attnretrieval.gradcheck.calls import one_line, place

OWN = "attnretrieval."
TIMED = ("%%time", "%%timeit", "%%capture")     # magics whose cell is Python; the others' is not
LARGEST_FILE = 100 * 2**20                      # bytes a submission may write into one file


class NoSubmission(ValueError):
    """The file cannot be read as a notebook or as Python."""


class TooSlow(BaseException):
    """No Exception: a student's `except Exception` must not catch it."""


# --- reading -----------------------------------------------------------------------------------------------------------


def read_cells(path: Path) -> list[tuple[str, str]]:
    """(label, source) of every code cell."""
    if path.suffix == ".py":
        try:
            return [(path.name, importlib.util.decode_source(path.read_bytes()))]
        except (SyntaxError, UnicodeDecodeError):
            raise NoSubmission("is not in UTF-8") from None
    if path.suffix != ".ipynb":
        raise NoSubmission(f"is neither .ipynb nor .py, it ends in {path.suffix or 'nothing'}")
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NoSubmission("is no notebook: not JSON in UTF-8") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise NoSubmission("is no notebook: it has no list of cells")
    sources = [cell.get("source", "") for cell in cells if cell.get("cell_type") == "code"]
    return [(f"cell {i}", source if isinstance(source, str) else "".join(map(str, source)))
            for i, source in enumerate(sources, start=1)]


def compiled(label: str, source: str) -> CodeType:
    """The code of a cell. Lines for the shell or for IPython (! and %) are left out where Python cannot read them."""
    linecache.cache[label] = (len(source), None, source.splitlines(keepends=True), label)
    try:
        return compile(source, label, "exec")
    except SyntaxError:
        first = source.lstrip().partition("\n")[0].split()
        if first and first[0].startswith("%%") and first[0] not in TIMED:
            return compile("", label, "exec")
        lines = source.split("\n")
        plain = [line[:len(line) - len(line.lstrip())] + "pass" if line.lstrip().startswith(("%", "!")) else line
                 for line in lines]
        return compile("\n".join(plain), label, "exec")


# --- limits ------------------------------------------------------------------------------------------------------------


def limit_process(memory: int) -> None:
    """`memory` in MB, where the system knows such limits."""
    try:
        import resource
    except ImportError:     # Windows
        return
    for kind, most, later in ((resource.RLIMIT_AS, memory * 2**20, 2 * memory * 2**20),
                              (resource.RLIMIT_FSIZE, LARGEST_FILE, LARGEST_FILE), (resource.RLIMIT_CORE, 0, 0)):
        _, hard = resource.getrlimit(kind)
        both = (most, later) if hard == resource.RLIM_INFINITY else (min(most, hard), min(later, hard))
        resource.setrlimit(kind, both)


def grant_more() -> None:
    """As much memory again, once: what a cell has filled up is missing in the exercises, which may be right."""
    try:
        import resource
    except ImportError:     # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Inside, TooSlow is raised after so many seconds, and again, in case that it was caught."""
    if not hasattr(signal, "setitimer"):        # Windows: `grade` ends the process
        yield
        return

    def stop(*_: Any) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


# --- running -----------------------------------------------------------------------------------------------------------


class Runner:
    def __init__(self, result: TextIO, seconds: float) -> None:
        self.result, self.seconds = result, seconds
        self.module = ModuleType("submission")
        self.module.__dict__["display"] = lambda *_, **__: None     # a notebook has it
        sys.modules["submission"] = self.module                     # dataclasses look their module up

    def tell(self, **line: Any) -> None:
        self.result.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.result.flush()

    def run_cell(self, label: str, source: str) -> None:
        self.tell(at=label)
        try:
            with at_most(self.seconds):
                exec(compiled(label, source), self.module.__dict__)
        except TooSlow:
            self.tell(note=f"{label} ran longer than {self.seconds:g} s")
        except SyntaxError as error:
            self.tell(note=f"{label} line {error.lineno}: {type(error).__name__}: {error.msg}")
        except SystemExit:
            self.tell(note=f"{label} calls exit")
        except BaseException as error:  # whatever it raises, the next cell is run
            if isinstance(error, MemoryError):
                grant_more()
            said = f": {one_line(error)}" if str(error) else ""
            self.tell(note=f"{label} raised {type(error).__name__}{place(label, error).replace(f' in {label}', '')}{said}")

    def check(self, name: str, seed: int) -> None:
        function = getattr(self.module, name, None)
        if function is None:
            return
        self.tell(at=name)
        if not inspect.isfunction(function):
            self.tell_mistake(name, f"is a {type(function).__name__}, no function")
        elif (function.__module__ or "").startswith(OWN):
            self.tell_mistake(name, "is the package's own, imported")
        else:
            self._check(name, function, seed)

    def tell_mistake(self, name: str, mistake: str) -> None:
        self.tell(exercise=name, passed=False, message=f"{name} {mistake}", mistake=mistake)

    def _check(self, name: str, function: Any, seed: int) -> None:
        try:
            with at_most(self.seconds):
                answer = check(name, function, seed=seed)
            self.tell(exercise=name, passed=answer.passed, message=str(answer), mistake=answer.mistake)
        except TooSlow:
            self.tell_mistake(name, f"ran longer than {self.seconds:g} s")
        except SystemExit:
            self.tell_mistake(name, "calls exit")
        except BaseException as error:  # what a check lets through is the submission's
            self.tell_mistake(name, f"raised {type(error).__name__}: {one_line(error)}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--exercises", required=True)
    parser.add_argument("--skip", action="append", default=[], help="a cell or an exercise that is not run")
    given = parser.parse_args(arguments)
    from attnretrieval.course.exercises import EXERCISES  # noqa: F401  before the limits: a submission may not break the import

    with given.result.open("w", encoding="utf-8") as result:
        runner = Runner(result, given.seconds)
        limit_process(given.memory)
        # modules beside it; last, so that no file of that folder hides one of Python's
        sys.path.append(str(given.file.parent))
        try:
            for label, source in read_cells(given.file):
                if label not in given.skip:
                    runner.run_cell(label, source)
            for name in given.exercises.split(","):
                if name not in given.skip:
                    runner.check(name, given.seed)
                else:
                    runner.tell_mistake(name, "ended the whole process")
        except NoSubmission as error:
            runner.tell(note=str(error))
        except MemoryError:
            runner.tell(note="is too large to be read")
        runner.tell(done=True)
    os._exit(0)         # threads that a submission started are not waited for


if __name__ == "__main__":
    main()
