"""Attention between the words of a text and the regions of its image, drawn over the image.

Two panels a word, one above the other:

    looks at        row i of A_t2v over the regions: where the word looks; its largest weight is framed
    looked at by    column i of A_v2t over the regions: which regions look at the word

Weights are drawn as *times uniform*: A_t2v · m and A_v2t · n, so that 1 is what attention that does not choose would give, for
a text and an image of any size. All panels have one scale, and one colour bar says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnretrieval.backend import to_host
from attnretrieval.figures.style import WEIGHTS, plain
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask, check_shape

COLUMNS = 7                     # words in one band of panels
PANEL = 1.45                    # width of a panel, in inches


def word_region_maps(
    image: Any,
    words: Sequence[str],
    A_t2v: Any,
    A_v2t: Any,
    boxes: Any,
    head: int | None = None,
    word_mask: Any = None,
    region_mask: Any = None,
    limit: float | None = None,
    title: str = "",
) -> Figure:
    """One pair of maps a word.

    `image` (height, width, 3) uint8; `words` n labels; `A_t2v` (heads, n, m) and `A_v2t` (heads, m, n) as `Model.attention`
    gives them; `boxes` (m, 4) of the regions, [x0, y0, x1, y1] in fractions of the image. `head` draws one head, None their
    mean. Words and regions whose mask is False are padding and are not drawn. `limit` is the end of the scale in times uniform,
    None the largest weight drawn: give it to compare figures.
    """
    image, A_t2v, A_v2t, boxes = np.asarray(image), to_host(A_t2v), to_host(A_v2t), np.asarray(boxes, float)
    check_array("A_t2v", A_t2v, ndim=3)
    heads, n, m = A_t2v.shape
    check_shape("A_v2t", A_v2t, (heads, m, n), "the other direction of the same text and image")
    check_finite("A_t2v", A_t2v)
    check_finite("A_v2t", A_v2t)
    check_shape("boxes", boxes, (m, 4), "one box a region")
    check_mask("word_mask", word_mask, (n,))
    check_mask("region_mask", region_mask, (m,))
    if len(words) != n:
        raise ShapeError(f"{len(words)} words for attention of {n}; give one label a word, padding too")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"the image has shape {image.shape} and dtype {image.dtype}, expected (height, width, 3) uint8")
    if head is not None and not 0 <= head < heads:
        raise ShapeError(f"head {head} is asked for, the attention has heads 0 to {heads - 1}")
    real_words = np.flatnonzero(np.ones(n, bool) if word_mask is None else word_mask)
    real_regions = np.flatnonzero(np.ones(m, bool) if region_mask is None else region_mask)
    if not len(real_words) or not len(real_regions):
        raise ShapeError("every word or every region is padding: there is nothing to draw")

    t2v, v2t = (A.mean(axis=0) if head is None else A[head] for A in (A_t2v, A_v2t))
    looks_at = t2v[np.ix_(real_words, real_regions)] * len(real_regions)
    looked_at_by = v2t[np.ix_(real_regions, real_words)].T * len(real_words)
    scale = Normalize(0, limit or max(looks_at.max(), looked_at_by.max()))
    return _draw(image, [words[i] for i in real_words], looks_at, looked_at_by, boxes[real_regions], scale,
                 title, "" if heads == 1 else f"mean of {heads} heads" if head is None else f"head {head} of 0 to {heads - 1}")


def _draw(image: np.ndarray, words: list[str], looks_at: np.ndarray, looked_at_by: np.ndarray, boxes: np.ndarray,
          scale: Normalize, title: str, which: str) -> Figure:
    columns = min(COLUMNS, len(words)) + 1                  # each band begins with the image itself
    bands = -(-len(words) // (columns - 1))
    tall = PANEL * image.shape[0] / image.shape[1]
    heading = "   ".join(filter(None, [title, f"({which})" if which else ""]))
    size = PANEL * columns + 1.25, bands * (2 * tall + 0.4) + (0.45 if heading else 0.1)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0, wspace=0)
    if heading:
        plain(figure.suptitle(heading, fontsize=11))
    axes = figure.subplots(2 * bands, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    ground = _pale(image)
    for band in range(bands):
        above, below = axes[2 * band:2 * band + 2]
        _panel(above[0], image)
        _grid(above[0], boxes, image.shape)
        above[0].set_title("the regions", fontsize=9, style="italic")
        _side_label(above[1], "looks at")
        _side_label(below[1], "looked at by")
        first = band * (columns - 1)
        for column, word in enumerate(words[first:first + columns - 1], start=1):
            place = first + column - 1
            plain(above[column].set_title(word, fontsize=11))
            for ax, weights in ((above[column], looks_at[place]), (below[column], looked_at_by[place])):
                _panel(ax, ground)
                _weigh(ax, weights, boxes, scale, image.shape)
            _frame(above[column], boxes[looks_at[place].argmax()], image.shape)
    bar = figure.colorbar(ScalarMappable(scale, WEIGHTS), ax=axes, fraction=0.03, aspect=30, pad=0.01)
    bar.set_label("attention, times uniform", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if scale.vmax > 1:
        bar.ax.axhline(1, color="black", linewidth=1)       # what attention that does not choose would give
        bar.ax.text(-0.2, 1, "1", fontsize=8, ha="right", va="center", transform=bar.ax.get_yaxis_transform())
    return figure


def _panel(ax, image: np.ndarray) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set_xlim(-0.5, image.shape[1] - 0.5)
    ax.set_ylim(image.shape[0] - 0.5, -0.5)


def _pale(image: np.ndarray) -> np.ndarray:
    """The image in light grey, so that the colours on it are nearly those of the bar."""
    grey = image @ np.array([0.299, 0.587, 0.114])
    return np.repeat((110 + grey * (145 / 255)).astype(np.uint8)[..., None], 3, axis=2)


def _rectangle(box: np.ndarray, shape: tuple[int, ...]) -> Rectangle:
    (x0, x1), (y0, y1) = box[[0, 2]] * shape[1] - 0.5, box[[1, 3]] * shape[0] - 0.5
    return Rectangle((x0, y0), x1 - x0, y1 - y0)


def _grid(ax, boxes: np.ndarray, shape: tuple[int, ...]) -> None:
    for color, width in (("black", 1.2), ("white", 0.5)):       # seen on light and on dark
        ax.add_collection(PatchCollection([_rectangle(box, shape) for box in boxes], facecolor="none", edgecolor=color,
                                          linewidth=width, alpha=0.8))


def _weigh(ax, weights: np.ndarray, boxes: np.ndarray, scale: Normalize, shape: tuple[int, ...]) -> None:
    cells = PatchCollection([_rectangle(box, shape) for box in boxes], cmap=WEIGHTS, norm=scale,
                            edgecolor=(0, 0, 0, 0.25), linewidth=0.4)
    cells.set_array(weights)
    ax.add_collection(cells)


def _frame(ax, box: np.ndarray, shape: tuple[int, ...]) -> None:
    for color, width in (("black", 3), ("white", 1.4)):
        frame = _rectangle(box, shape)
        frame.set(facecolor="none", edgecolor=color, linewidth=width, clip_on=False)
        ax.add_patch(frame)


def _side_label(ax, text: str) -> None:
    ax.text(-0.06, 0.5, text, rotation=90, ha="right", va="center", fontsize=9, color="black", transform=ax.transAxes)
