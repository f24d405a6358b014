"""Cutting a matrix of pairs into blocks."""

from __future__ import annotations

from collections.abc import Iterator


def spans(length: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, length, step)]


def blocks(shape: tuple[int, int], block: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each block; the rows of a block stay while the columns go by."""
    for rows in spans(shape[0], block[0]):
        for columns in spans(shape[1], block[1]):
            yield rows, columns
