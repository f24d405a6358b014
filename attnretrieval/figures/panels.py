"""Matrices side by side, a label a row and a column, one scale: the layout of matrix.py.

Sizes are in inches and come from the data: cells are square (but for one row of many), panels fill the width of a notebook,
and where cells are too small for a label each, every second (third, …) row or column has one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnretrieval.figures.style import extend, fit, inches, new_figure, plain

ACROSS, DOWN = 9.0, 8.0         # a notebook's width; a printed page with room for its text
GAP, BAR, SIDE, TITLE = 0.15, 1.05, 0.3, 0.3
BAR_TALL = 1.25                 # room for the label of the colour bar
LARGEST, LINE = 0.48, 0.115      # a cell at most; what a label needs
FLATTEST = 0.25                 # a matrix at least: of one row and many columns, else a line
LABEL, LABEL_ALONE = 1.3, 2.4   # a label's length; that of a row, where there is one panel
SMALL, LETTERS = 6.5, 10.0      # points


def draw_matrices(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], names: Sequence[str], scale: Normalize,
                  colours: Colormap, bar_label: str, looks: tuple[str, str], title: str = "") -> tuple[Figure, list[Axes]]:
    """`values` (k, n, m) as k panels, called `names`, and their axes; `looks` says what rows and columns are."""
    k, n, m = values.shape
    room = ACROSS - BAR - 2 * SIDE
    longest = LABEL_ALONE if k == 1 else LABEL
    across = room - shorten(rows, LETTERS, longest)[1]
    most = max(min(k, 3), max((p for p in range(1, min(k, 4) + 1) if _cell(across, p, m) >= LINE), default=1))
    bands = math.ceil(k / most)
    per_band = math.ceil(k / bands)
    cell = min(_cell(across, per_band, m), LARGEST, (DOWN - bands) / (bands * n))
    size = float(np.clip(72 * 0.75 * cell, SMALL, LETTERS))
    row_labels, wide = shorten(rows, size, longest)
    column_labels, long = shorten(columns, size, LABEL)
    high = max(cell, FLATTEST / n)
    step, step_across = (max(1, math.ceil(LINE / side)) for side in (high, cell))
    if all(label.isdecimal() for label in columns):         # numbers are thinned until they fit, words are turned
        step_across = max(step_across, math.ceil((long + 0.06) / cell))
    turned = long > 0.9 * cell * step_across
    above = (long if turned else size / 72) + 0.1
    left, top = SIDE + wide + 0.1, 0.24 + (TITLE if title else 0) + above
    panel, tall = m * cell, n * high
    bar_tall = max(tall, BAR_TALL)
    named = 0.32 if any(names) else 0.08
    width = left + per_band * (panel + GAP) + BAR
    height = top + bands * (tall + named) + (bands - 1) * (above + 0.1) + 0.05
    height = max(height, top + bar_tall + 0.1)
    figure = new_figure(width, height)
    if title:
        fit(plain(figure.suptitle(title, fontsize=11, y=1 - 0.08 / height, va="top")), width - 0.2)
    axes = []
    for i in range(k):
        band, place = divmod(i, per_band)
        x, y = left + place * (panel + GAP), top + band * (tall + named + above + 0.1)
        ax = figure.add_axes((x / width, 1 - (y + tall) / height, panel / width, tall / height))
        ax.imshow(values[i], cmap=colours, norm=scale, interpolation="nearest", aspect="auto")
        ax.xaxis.tick_top()
        _label(ax.xaxis, column_labels, step_across, size, 90 if turned else 0)
        _label(ax.yaxis, row_labels if place == 0 else [], step, size, 0)
        fit(plain(ax.text(0.5, -0.06 / tall, names[i], fontsize=9, ha="center", va="top", transform=ax.transAxes)), panel)
        if place == 0:
            middle = 1 - (y + tall / 2) / height
            figure.text(0.12 / width, middle, looks[0], fontsize=9, style="italic", rotation=90, ha="center", va="center")
        axes.append(ax)
    figure.text(left / width, 1 - (TITLE if title else 0.06) / height, looks[1], fontsize=9, style="italic", va="top")
    bar = figure.add_axes(((width - BAR + 0.15) / width, 1 - (top + bar_tall) / height, 0.17 / width, bar_tall / height))
    drawn = figure.colorbar(ScalarMappable(scale, colours), cax=bar, extend=extend(values, scale),
                            ticks=MaxNLocator(max(2, min(6, int(bar_tall / 0.3))), steps=[1, 2, 5, 10]))
    drawn.set_label(bar_label, fontsize=9)
    bar.tick_params(labelsize=8)
    return figure, axes


def shorten(labels: Sequence[str], size: float, longest: float) -> tuple[list[str], float]:
    """The labels cut to `longest` inches at this size of letters, and how long the longest then is."""
    scratch = new_figure(1, 1)
    texts = [fit(plain(scratch.text(0, 0, label, fontsize=size)), longest, smallest=size) for label in labels]
    return [text.get_text() for text in texts], max(map(inches, texts), default=0.0)


def ink(colour: Any) -> str:
    """Black or white, whichever is easier to read on this colour."""
    r, g, b = (c ** 2.2 for c in colour[:3])
    return "black" if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 else "white"


def _cell(across: float, panels: int, m: int) -> float:
    return (across - panels * GAP) / (panels * m)


def _label(axis: Axis, labels: list[str], step: int, size: float, rotation: int) -> None:
    axis.set_ticks(range(0, len(labels), step), labels[::step], fontsize=size, rotation=rotation)
    axis.set_tick_params(length=0, pad=3)
    for label in axis.get_ticklabels():
        plain(label)
