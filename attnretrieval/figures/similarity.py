"""A matrix of similarities: a row is a caption, a column an image, and the darker a cell the more alike the two.

A right answer has a frame, and the best image of each row a dot: where the dot is in a frame, that caption found its image.
Several matrices, such as snapshots of a training, stand side by side on one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_image, check_some
from attnretrieval.figures.panels import shorten
from attnretrieval.figures.style import GREY, RED, fit, new_figure, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_positives

COLUMNS = 4                                     # matrices in a row
WIDTH, HIGHEST = 10.0, 6.0                      # inches: of a figure at most, of a matrix at most
CELL, LINE, NAMES, TITLE, BAR = 0.42, 0.18, 0.85, 0.3, 0.8
TEXT, LETTERS = 2.6, 8.5                        # inches of a caption at the side, at most; points of its letters
BAR_TALL = 1.0                                  # room for the label of the colour bar
TURN = 60                                       # degrees, of names below their columns
FRAME = 0.8                                     # points of a frame at least, of a cell however small
LABELLED = 0.16                                 # inches of a row that has room for a caption
BLUES = ListedColormap(colormaps["Blues"](np.linspace(0, 1, 256)), "similarity")     # white to dark blue: also in grey


def similarity_matrix(S: Any, positives: Any = None, captions: Sequence[str] | None = None,
                      images: Sequence[Any] | None = None, titles: Sequence[str] | None = None,
                      limits: tuple[float, float] = (-1.0, 1.0), bar: str = "cosine") -> Figure:
    """`S` (C, I), or (k, C, I) for k matrices; `positives` (C, I) is True where the caption describes the image.

    `images` are names, or pictures (height, width, 3) uint8 that stand above their columns. `limits` are the ends of the
    scale, which all matrices share; those of a cosine if not given, so that two figures can be compared.
    """
    S = to_host(S)
    check_array("S", S, min_ndim=2)
    S = S[None] if S.ndim == 2 else S
    check_array("S", S, ndim=3)
    check_finite("S", S)
    check_some("S", S)
    k, C, I = S.shape   # noqa: E741 (the image axis has this name throughout the package)
    positives = None if positives is None else to_host(positives)
    if positives is not None:
        check_positives(S[0], positives)
    for name, given, expected in (("captions", captions, C), ("images", images, I), ("titles", titles, k)):
        if given is not None and len(given) != expected:
            raise ShapeError(f"{len(given)} {name} for {expected} of them in S {S.shape}")
    if not limits[0] < limits[1]:
        raise ValueError(f"limits={limits}: give the lower end of the scale first")

    columns, rows = min(k, COLUMNS), -(-k // COLUMNS)
    pictures = images is not None and not isinstance(images[0], str)
    if pictures:
        images = [check_image(image, f"images[{i}]") for i, image in enumerate(images)]
    side = 0.4 if captions is None else max(0.4, min(TEXT, shorten(captions, LETTERS, TEXT)[1] + 0.15))
    cell = min(CELL, (WIDTH - side - BAR) / columns / (I + 0.5), HIGHEST / C)
    wide, tall = cell * I, cell * C
    above = max(TITLE if titles else 0.1, 0.27 - tall / 2) + (cell if pictures else 0)
    below = LINE + (NAMES if images is not None and not pictures else 0.1)
    width = max(side + columns * (wide + 0.5 * cell) + BAR, 3.4)
    high = max(min(tall, 2.4), BAR_TALL)
    height = max(rows * (above + tall + below), above + high + 0.1)
    figure = new_figure(width, height)
    for number, matrix in enumerate(S):
        row, column = divmod(number, COLUMNS)
        left, top = side + column * (wide + 0.5 * cell), row * (above + tall + below) + above
        ax = figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))
        shown = _panel(ax, matrix, positives, limits, cell)
        _name_rows(ax, captions if column == 0 and cell >= LABELLED else None, "caption" if column == 0 else "")
        if pictures:
            _pictures(figure, images, left, top - cell, cell)
        elif images is not None:
            ax.set_xticks(range(I), images, fontsize=8)
            _fit_labels(ax.xaxis, NAMES)
            ax.tick_params(axis="x", rotation=TURN)
            for label in ax.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        ax.set_xlabel("image", fontsize=8, color=GREY, labelpad=2)
        if titles:
            title = plain(figure.text((left + wide / 2) / width, 1 - (top - above + 0.06) / height, titles[number],
                                      ha="center", va="top", fontsize=10))
            fit(title, wide + 0.4 * cell)
    scale = figure.add_axes(((width - BAR + 0.1) / width, 1 - (above + high) / height, 0.14 / width, high / height))
    figure.colorbar(shown, cax=scale, ticks=MaxNLocator(5, steps=[1, 2, 5, 10]))
    scale.set_ylabel(bar, fontsize=8)
    scale.tick_params(labelsize=7)
    return figure


def _panel(ax: Axes, S: np.ndarray, positives: np.ndarray | None, limits: tuple[float, float], cell: float) -> AxesImage:
    shown = ax.imshow(S, cmap=BLUES, vmin=limits[0], vmax=limits[1], aspect="auto")
    ax.set_xticks([]), ax.set_yticks([])
    if positives is not None:
        for c, i in zip(*np.nonzero(positives), strict=True):       # orange on white: seen on pale and on dark, in grey too
            for color, line in (("white", 2), (RED, 1)):
                ax.add_patch(Rectangle((i - 0.42, c - 0.42), 0.84, 0.84, fill=False, edgecolor=color,
                                       linewidth=line * max(3.5 * cell, FRAME)))
    best = S.argmax(axis=1)
    ax.scatter(best, range(len(S)), s=(16 * cell) ** 2, c="black", edgecolors="white", linewidths=2.4 * cell, zorder=3)
    return shown


def _name_rows(ax: Axes, captions: Sequence[str] | None, otherwise: str) -> None:
    if captions is None:
        ax.set_ylabel(otherwise, fontsize=8, color=GREY, labelpad=2)
        return
    ax.set_yticks(range(len(captions)), captions, fontsize=LETTERS)
    ax.tick_params(length=0)
    _fit_labels(ax.yaxis, TEXT - 0.15)


def _fit_labels(axis: Axis, width: float) -> None:
    labels = [fit(plain(label), width) for label in axis.get_ticklabels()]
    axis.set_ticklabels([label.get_text() for label in labels])     # else an axis writes what was cut anew, whole


def _pictures(figure: Figure, images: Sequence[np.ndarray], left: float, top: float, cell: float) -> None:
    width, height = figure.get_size_inches()
    for i, image in enumerate(images):
        ax = figure.add_axes(((left + (i + 0.04) * cell) / width, 1 - (top + 0.96 * cell) / height, 0.92 * cell / width,
                              0.92 * cell / height))
        ax.imshow(image)
        ax.set_axis_off()
