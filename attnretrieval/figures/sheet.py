"""A query and what was found for it, best first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from attnretrieval.figures.style import GREEN, GREY, RED, plain
from attnretrieval.inputs.words import has_han
from attnretrieval.shapes import ShapeError

COLUMNS = 6                     # images in a row
CAPTIONS = 20                   # captions that a sheet shows at most
MARKS = {True: ("✓ right", GREEN), False: ("✗ wrong", RED), None: ("", GREY)}


def retrieval_sheet(query: str | np.ndarray, found: Sequence[tuple[Any, float, bool | None]]) -> Figure:
    """`query` is a text, or an image (height, width, 3) uint8; `found` lists (image or text, score, right) in order.

    `right` says whether the result belongs to the query, None where nobody knows. A text finds images, an image texts.
    """
    if not found:
        raise ShapeError("nothing was found: there is nothing to draw")
    return _images(query, found) if isinstance(query, str) else _captions(np.asarray(query), found[:CAPTIONS])


def _images(query: str, found: Sequence[tuple[np.ndarray, float, bool | None]]) -> Figure:
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    width = max(1.9 * columns, 5.0)
    title = _wrap(query, int(width * 9))
    figure = Figure(figsize=(width, 2.25 * rows + 0.25 + 0.22 * title.count("\n") + 0.25), layout="constrained")
    plain(figure.suptitle(title, fontsize=12))
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for rank, (ax, (image, score, right)) in enumerate(zip(axes.flat, found, strict=False), start=1):
        ax.imshow(image)
        mark, color = MARKS[right]
        ax.set_title(f"{rank}   {score:.3f}   {mark}".rstrip(), fontsize=9, color="black" if right is None else color)
    return figure


def _captions(query: np.ndarray, found: Sequence[tuple[str, float, bool | None]]) -> Figure:
    figure = Figure(figsize=(10, max(3.2, 0.36 * len(found) + 0.8)), layout="constrained")
    left, right_side = figure.subplots(1, 2, width_ratios=[1, 2.1])
    left.imshow(query)
    left.set_axis_off()
    left.set_anchor("N")
    right_side.set_axis_off()
    right_side.set(xlim=(0, 1), ylim=(len(found), 0))
    for rank, (text, score, right) in enumerate(found):
        mark, color = MARKS[right]
        right_side.text(0.0, rank + 0.5, f"{rank + 1}", fontsize=9, ha="left", va="center", color=GREY)
        right_side.text(0.12, rank + 0.5, f"{score:.3f}", fontsize=9, ha="right", va="center")
        right_side.text(0.14, rank + 0.5, mark[:1], fontsize=10, va="center", color=color)
        plain(right_side.text(0.17, rank + 0.5, _shorten(text), fontsize=10, va="center"))
    return figure


def _wrap(text: str, width: int) -> str:
    """Lines of `width` letters; a Chinese character is as wide as two."""
    if has_han(text):
        width //= 2
        return "\n".join(text[start:start + width] for start in range(0, len(text), width))
    return "\n".join(textwrap.wrap(text, width)) or text


def _shorten(text: str) -> str:
    most = 36 if has_han(text) else 78
    return text if len(text) <= most else text[:most - 1] + "…"
