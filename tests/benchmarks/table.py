"""Rows of results: one line each, in a table for the eye and in JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HEAD = ("name", "ours", "reference", "ratio", "goal", "", "unit", "note")


@dataclass(frozen=True)
class Row:
    """`ratio` is ours / reference: smaller is better, and `goal` is the largest ratio that we want (None: only to compare)."""

    name: str
    ours: float | None
    reference: float | None
    goal: float | None
    unit: str
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.ours / self.reference if self.ours is not None and self.reference else None

    @property
    def verdict(self) -> str:
        if self.goal is None or self.ratio is None:
            return ""
        return "met" if self.ratio <= self.goal else "MISSED"

    def to_json(self) -> dict:
        return {**asdict(self), "ratio": self.ratio}

    def cells(self) -> tuple[str, ...]:
        return (self.name, number(self.ours), number(self.reference), "" if self.ratio is None else f"{self.ratio:.2f}",
                "" if self.goal is None else f"≤ {self.goal:g}", self.verdict, self.unit, self.note)


def number(x: float | None) -> str:
    """Three figures."""
    if x is None:
        return ""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


class Printer:
    """Prints a table row by row, as the results come, in columns that are as wide as most rows need."""

    widths = (44, 8, 9, 6, 7, 6, 9, 0)

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def head(self, lines: Sequence[str]) -> None:
        print("\n".join(lines), end="\n\n")
        self._line(HEAD)
        print("-" * (sum(self.widths) + 2 * len(self.widths) + 16))

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.rows.append(row)
            self._line(row.cells())

    def foot(self) -> None:
        with_goal = [row for row in self.rows if row.verdict]
        missed = [row.name for row in with_goal if row.verdict == "MISSED"]
        print(f"\n{len(with_goal) - len(missed)} of {len(with_goal)} goals met")
        for name in missed:
            print(f"  missed: {name}")

    def _line(self, cells: Sequence[str]) -> None:
        padded = [cell.rjust(width) if 1 <= i <= 4 else cell.ljust(width)
                  for i, (cell, width) in enumerate(zip(cells, self.widths, strict=True))]
        print("  ".join(padded).rstrip(), flush=True)


def write_json(path: str | Path, rows: Sequence[Row]) -> None:
    Path(path).write_text(json.dumps([row.to_json() for row in rows], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
