"""What a student's function prints while it is checked."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import numpy as np


class FirstLines(io.TextIOBase):
    """Passes on the first lines that a student prints, and counts the rest: a backward is called thousands of times."""

    LIMIT = 20

    def __init__(self) -> None:
        self.stream, self.lines = sys.stdout, 0

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            if self.lines < self.LIMIT:
                self.stream.write(line)
            self.lines += line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        self.stream.flush()

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Inside, this is where print goes, and NumPy does not warn: what overflows is found by its value."""
        with redirect_stdout(self), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            yield

    def rest(self) -> str:
        more = self.lines - self.LIMIT
        return f"… and {more:,} more lines that were printed\n" if more > 0 else ""
