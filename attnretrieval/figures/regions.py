"""Weights over the regions of one image: where a region looks, or how much each region is like another.

One panel a row of `weights`; the region that asks is framed. For a word that looks at regions see maps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_image, check_limit, check_some
from attnretrieval.figures.style import BLUE, WEIGHTS, extend, fit, new_figure, pale, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_shape

# in inches
PANEL, TALLEST = 2.4, 4.0               # the width of a panel; its height at most, where the image gets narrower
GAP, TITLE, BELOW, BAR = 0.12, 0.3, 0.1, 0.75
BAR_TALL = 1.0                          # room for the label of the colour bar
ACROSS = 5                              # panels in a row: more would be too small at the width of a notebook


def region_weights(image: Any, weights: Any, grid: tuple[int, int], titles: Sequence[str], asks: Sequence[int | None],
                   limit: float = 1.0, label: str = "weight") -> Figure:
    """The image with its grid, then one panel a row of `weights` (k, rows · columns); `asks[i]` is framed in panel i.

    `image` (height, width, 3) uint8; `grid` is (rows, columns), and its regions are numbered row by row; `titles` and `asks`
    hold one of each a panel, None where no region asks. `limit` is the end of the scale, `label` says what the numbers are.
    """
    image, weights = check_image(image), to_host(weights)
    rows, columns = grid
    check_array("weights", weights, ndim=2)
    check_finite("weights", weights)
    check_some("weights", weights)
    check_limit(limit)
    k = len(weights)
    check_shape("weights", weights, (k, rows * columns), f"one weight a cell of the grid {rows}×{columns}")
    if not k == len(titles) == len(asks):
        raise ShapeError(f"{k} rows of weights, {len(titles)} titles and {len(asks)} asking regions; give one of each a panel")
    for ask in asks:
        if ask is not None and not 0 <= ask < rows * columns:
            raise ShapeError(f"region {ask} asks, but the grid {rows}×{columns} has regions 0 to {rows * columns - 1}")
    tall = min(PANEL * image.shape[0] / image.shape[1], TALLEST)
    wide = tall * image.shape[1] / image.shape[0]
    bands = -(-(k + 1) // ACROSS)
    across = -(-(k + 1) // bands)                               # bands of nearly one length
    band = TITLE + tall + BELOW
    width, height = across * (PANEL + GAP) + BAR, max(bands * band, TITLE + BAR_TALL + BELOW)
    figure = new_figure(width, height)
    scale = Normalize(0, limit)

    def place(x: float, y: float, w: float, h: float) -> Axes:
        return figure.add_axes((x / width, 1 - (y + h) / height, w / width, h / height))

    for i, title in enumerate(["the regions", *titles]):
        row, column = divmod(i, across)
        ax = place(column * (PANEL + GAP) + (PANEL - wide) / 2, row * band + TITLE, wide, tall)
        if i:
            _draw(ax, pale(image), grid, weights[i - 1], scale, asks[i - 1])
        else:
            _draw(ax, image, grid)
        fit(plain(ax.set_title(title, fontsize=10, style="normal" if i else "italic")), PANEL)
    bar = place(width - BAR + 0.02, TITLE, 0.14, max(tall, BAR_TALL))
    figure.colorbar(ScalarMappable(scale, WEIGHTS), cax=bar, extend=extend(weights, scale))
    bar.set_ylabel(label, fontsize=8)
    bar.tick_params(labelsize=7)
    return figure


def _draw(ax: Axes, image: np.ndarray, grid: tuple[int, int], weights: np.ndarray | None = None, scale: Normalize | None = None,
          ask: int | None = None) -> None:
    rows, columns = grid
    ax.set_axis_off()
    shown = {"extent": (0, columns, rows, 0), "interpolation": "nearest", "aspect": "auto"}
    ax.imshow(image, **shown)
    if weights is not None:
        ax.imshow(weights.reshape(grid), cmap=WEIGHTS, norm=scale, **shown)
    for at in range(1, columns):
        ax.plot((at, at), (0, rows), color="black", linewidth=0.5, alpha=0.5)
    for at in range(1, rows):
        ax.plot((0, columns), (at, at), color="black", linewidth=0.5, alpha=0.5)
    if ask is not None:
        row, column = divmod(ask, columns)
        for colour, line in (("white", 4), (BLUE, 2)):
            ax.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=colour, linewidth=line, clip_on=False))
