"""What the checker found, as a table, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import Array


class Problem(NamedTuple):
    input: str | None           # None: it concerns the whole call
    text: str
    code: str | None = None     # a short name of the fault, where it has one


@dataclass
class Row:
    """What the check found for one input."""

    name: str
    shape: tuple[int, ...]
    complex_error: float        # nan where there was no gradient to compare
    difference_error: float
    problems: list[str] = field(default_factory=list)
    style: list[str] = field(default_factory=list)      # those of the problems that leave the values right
    diagnosis: str | None = None        # None where nothing is wrong; "unexplained" where no diagnosis fits
    expected: Array | None = None       # for the picture; None for a large input, of which only samples are known
    actual: Array | None = None

    @property
    def passed(self) -> bool:
        return not self.problems


@dataclass
class Report:
    name: str
    rows: list[Row]
    problems: list[str]         # of the call as a whole; those of one input are in its row
    tolerance: float
    notes: list[str] = field(default_factory=list)      # worth knowing, and no fault
    bound: str = ""             # where the tolerance comes from
    codes: list[str] = field(default_factory=list)      # the faults of the call as a whole, as short names
    raised: Exception | None = None     # what a pass raised; calls.NoAnswer where it returned something else than it should

    @property
    def passed(self) -> bool:
        return not self.problems and all(row.passed for row in self.rows)

    @property
    def worst_error(self) -> float:
        """The largest complex-step error of any input; nan where one could not be computed."""
        if self.raised is not None and not self.rows:
            return np.nan
        return float(np.max([row.complex_error for row in self.rows], initial=0.0))

    @property
    def diagnosis(self) -> dict[str, str]:
        """Input → the short name of its fault, of all wrong inputs."""
        return {row.name: row.diagnosis for row in self.rows if row.diagnosis is not None}

    def plot(self) -> Any:
        """A Matplotlib figure: expected, actual and where they differ, a row of pictures for every wrong input."""
        from attnretrieval.gradcheck.picture import gradient_report

        return gradient_report(self)

    def __str__(self) -> str:
        lines = [f"{self.name}: {'passed' if self.passed else 'FAILED'}"]
        if self.rows:
            lines[0] += f" (tolerance {self.tolerance:.0e}{self.bound})"
            lines += self._table()
        lines += [f"  - {text}" for text in self.problems]
        lines += [f"  - {row.name}: {text}" for row in self.rows for text in row.problems]
        lines += [f"  note: {text}" for text in self.notes]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        width = max([len("input"), *(len(row.name) for row in self.rows)])
        shapes = [" × ".join(map(str, row.shape)) or "scalar" for row in self.rows]
        wide = max([len("shape"), *map(len, shapes)])
        lines = [f"  {'input':<{width}}  {'shape':<{wide}}  complex step  difference  verdict"]
        for row, shape in zip(self.rows, shapes, strict=True):
            verdict = "ok" if row.passed else "WRONG"
            lines.append(f"  {row.name:<{width}}  {shape:<{wide}}  {row.complex_error:12.1e}  {row.difference_error:10.1e}  "
                         + verdict)
        return lines
