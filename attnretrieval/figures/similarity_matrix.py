"""The scores of a batch as a matrix: a row a text, a column an image, the right answers framed.

While a model trains the framed cells become the brightest of their row and of their column: give several snapshots to see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.given import check_pairs
from attnretrieval.figures.matrices import draw_matrices, label_list
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_shape

COLOURS = colormaps["cividis"]          # from dark to light, for the colour-blind and for grey print
SIDE = 0.62                             # of a frame, in cells
SMALL = 7                               # points of a cell that is too small for a frame within: its outline is drawn


def similarity_matrix(
    S: Any,
    image_of: Any = None,
    texts: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """`S` (texts, images), or {name: S} for several snapshots side by side on one scale.

    `image_of` (texts,) is the number of the image that each text describes, None for the diagonal: text i and image i are a
    pair. Below each panel: for how many texts the right image has the highest score. `limits` are the ends of the scale, None
    the smallest and the largest score of all snapshots.
    """
    snapshots = {name: to_host(x) for name, x in S.items()} if isinstance(S, Mapping) else {"": to_host(S)}
    if not snapshots:
        raise ShapeError("there is no matrix to draw")
    first = next(iter(snapshots.values()))
    for name, x in snapshots.items():
        check_array(name or "S", x, ndim=2)
        check_finite(name or "S", x)
        check_shape(name or "S", x, first.shape, "all snapshots are of one batch")
    n, m = first.shape
    right = check_pairs(image_of, n, m)
    values = np.stack(list(snapshots.values()))
    low, high = limits or (values.min(), values.max())
    if not low <= high:
        raise ShapeError(f"limits={limits} of the scale are not in order")
    found = [int((x.argmax(axis=1) == right).sum()) for x in values]
    names = [f"{name + ': ' if name else ''}right first: {count} of {n}" for name, count in zip(snapshots, found, strict=True)]
    figure, axes = draw_matrices(values, label_list("texts", texts, n), label_list("images", images, m), names,
                                 Normalize(low, high), COLOURS, "score", ("text", "image →"), title)
    for ax in axes:
        cell = 72 * ax.get_window_extent().width / figure.dpi / m                   # in points, as widths of lines are
        side = SIDE if cell >= SMALL else 1
        frames = [Rectangle((j - side / 2, i - side / 2), side, side) for i, j in enumerate(right)]
        for colour, width in (("black", 2.0), ("white", 0.9)) if cell >= SMALL else (("white", 0.2),):
            ax.add_collection(PatchCollection(frames, facecolor="none", edgecolor=colour, linewidth=width))
    return figure

