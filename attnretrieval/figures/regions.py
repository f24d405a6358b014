"""Weights over the regions of one image: where a region looks, or how much each region is like another.

One panel a row of `weights`; the region that asks is framed. For a word that looks at regions see maps.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.style import BLUE, WEIGHTS, fit, new_figure, pale, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_shape

PANEL, GAP, TITLE, BELOW, BAR = 2.4, 0.12, 0.3, 0.1, 0.75       # inches


def region_weights(image: Any, weights: Any, grid: tuple[int, int], titles: Sequence[str], asks: Sequence[int | None],
                   limit: float = 1.0, label: str = "weight") -> Figure:
    """The image with its grid, then one panel a row of `weights` (k, rows · columns); `asks[i]` is framed in panel i.

    `limit` is the end of the scale.
    """
    image, weights = np.asarray(image), to_host(weights)
    rows, columns = grid
    check_array("weights", weights, ndim=2)
    check_finite("weights", weights)
    k = len(weights)
    check_shape("weights", weights, (k, rows * columns), f"one weight a cell of the grid {rows}×{columns}")
    if not k == len(titles) == len(asks):
        raise ShapeError(f"{k} rows of weights, {len(titles)} titles and {len(asks)} asking regions; give one of each a panel")
    tall = PANEL * image.shape[0] / image.shape[1]
    width, height = (k + 1) * (PANEL + GAP) + BAR, tall + TITLE + BELOW
    figure = new_figure(width, height)
    scale = Normalize(0, limit)
    for i, title in enumerate(["the regions", *titles]):
        ax = figure.add_axes((i * (PANEL + GAP) / width, BELOW / height, PANEL / width, tall / height))
        ax.set_axis_off()
        extent = (0, columns, rows, 0)
        ax.imshow(image if i == 0 else pale(image), extent=extent, interpolation="nearest", aspect="auto")
        if i:
            ax.imshow(weights[i - 1].reshape(grid), cmap=WEIGHTS, norm=scale, extent=extent, interpolation="nearest",
                      aspect="auto")
        for at in range(1, columns):
            ax.plot((at, at), (0, rows), color="black", linewidth=0.5, alpha=0.5)
        for at in range(1, rows):
            ax.plot((0, columns), (at, at), color="black", linewidth=0.5, alpha=0.5)
        if i and asks[i - 1] is not None:
            row, column = divmod(asks[i - 1], columns)
            for colour, line in (("white", 4), (BLUE, 2)):
                ax.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=colour, linewidth=line, clip_on=False))
        fit(plain(ax.set_title(title, fontsize=10, style="italic" if i == 0 else "normal")), PANEL)
    bar = figure.add_axes(((width - BAR + 0.02) / width, BELOW / height, 0.14 / width, tall / height))
    figure.colorbar(ScalarMappable(scale, WEIGHTS), cax=bar, extend="max" if weights.max() > limit else "neither")
    bar.set_ylabel(label, fontsize=8)
    bar.tick_params(labelsize=7)
    return figure
