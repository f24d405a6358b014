"""A query and what was found for it, best first."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.figures.given import check_image
from attnretrieval.figures.style import GREEN, GREY, RED, fit, new_figure, plain
from attnretrieval.inputs.words import has_han
from attnretrieval.shapes import ShapeError

COLUMNS = 6                     # images in a row
CELL, LINE, GAP = 1.8, 0.27, 0.1        # inches: the width of an image, the line above it, what lies between
CAPTIONS = 20                   # captions that a sheet shows at most
MARKS = {True: ("✓ right", GREEN), False: ("✗ wrong", RED), None: ("", GREY)}


def retrieval_sheet(query: str | np.ndarray, found: Sequence[tuple[Any, float, bool | None]]) -> Figure:
    """`query` is a text, or an image (height, width, 3) uint8; `found` lists (image or text, score, right) in order.

    `right` says whether the result belongs to the query, None where nobody knows. A text finds images, an image texts, of which
    the first 20 are listed, a line each, cut where it is too long. Rank, score and mark stand above each image, or before
    each text; a right image has a frame.
    """
    if not found:
        raise ShapeError("nothing was found: there is nothing to draw")
    if isinstance(query, str):
        return _images(query, [(check_image(image, f"the image of result {place}"), score, right)
                               for place, (image, score, right) in enumerate(found, start=1)])
    for place, (text, _, _) in enumerate(found, start=1):
        if not isinstance(text, str):
            raise ShapeError(f"result {place} is a {type(text).__name__}, expected a text: the query is an image")
    return _captions(check_image(query, "the query"), found[:CAPTIONS])


def _images(query: str, found: Sequence[tuple[np.ndarray, float, bool | None]]) -> Figure:
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    cell = max(CELL, 5 / columns)
    width = columns * (cell + GAP) + GAP
    tall = cell * min(max(image.shape[0] / image.shape[1] for image, _, _ in found), 1.4)
    title = _wrap(query, int(width * 9))
    top = 0.3 + 0.2 * title.count("\n")
    height = top + rows * (LINE + tall + GAP)
    figure = new_figure(width, height)
    fit(plain(figure.suptitle(title, fontsize=12, y=1 - GAP / height, va="top")), width - 2 * GAP)
    for place, (image, score, right) in enumerate(found):
        row, column = divmod(place, columns)
        x, y = GAP + column * (cell + GAP), top + row * (LINE + tall + GAP) + LINE
        ax = _picture(figure, image, x, y, cell, tall)
        mark, color = MARKS[right]
        fit(ax.set_title(f"{place + 1}   {score:.3f}   {mark}".rstrip(), fontsize=9, color="black" if right is None else color),
            cell, smallest=6)
        if right:
            ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor=color, linewidth=3,
                                   clip_on=False))
    return figure


def _captions(query: np.ndarray, found: Sequence[tuple[str, float, bool | None]]) -> Figure:
    wide, width = 3.0, 10.0
    tall = wide * min(query.shape[0] / query.shape[1], 1.4)
    height = max(tall, 0.36 * len(found)) + 2 * GAP
    figure = new_figure(width, height)
    _picture(figure, query, GAP, GAP, wide, tall)
    texts = width - wide - 3 * GAP
    listing = figure.add_axes(((wide + 2 * GAP) / width, 0, texts / width, 1))
    listing.set_axis_off()
    listing.set(xlim=(0, texts), ylim=(height, 0))              # in inches, downwards
    for place, (text, score, right) in enumerate(found):
        y = GAP + 0.36 * (place + 0.5)
        mark, color = MARKS[right]
        listing.text(0.25, y, f"{place + 1}", fontsize=9, ha="right", va="center", color=GREY)
        listing.text(0.8, y, f"{score:.3f}", fontsize=9, ha="right", va="center")
        listing.text(0.9, y, mark[:1], fontsize=10, va="center", color=color)
        fit(plain(listing.text(1.1, y, text, fontsize=10, va="center")), texts - 1.1, smallest=10)
    return figure


def _picture(figure: Figure, image: np.ndarray, x: float, y: float, wide: float, tall: float):
    """The image at the top of a place that is given in inches from the upper left corner."""
    width, height = figure.get_size_inches()
    ax = figure.add_axes((x / width, 1 - (y + tall) / height, wide / width, tall / height), anchor="N")
    ax.imshow(image)
    ax.set_axis_off()
    return ax


def _wrap(text: str, width: int) -> str:
    """Lines of `width` letters; a Chinese character is as wide as two."""
    if has_han(text):
        width //= 2
        return "\n".join(text[start:start + width] for start in range(0, len(text), width))
    return "\n".join(textwrap.wrap(text, width)) or text
