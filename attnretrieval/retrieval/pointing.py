"""The pointing game: does a phrase's attention land on what the phrase names?

For a phrase (some tokens of a caption) whose boxes in the image are known:

    (1)  a = mean of A_t2v over the heads and the phrase's tokens      (m,)  one weight a region
    (2)  optionally each weight becomes the mean of its smooth × smooth neighbours on the grid (fewer at the border)
    (3)  hit, if the centre of the region with the largest weight lies inside any box; among equals the lowest number

Accuracy is the share of hits. It means nothing without what one gets for free, since boxes are large and people
photograph things in the middle:

    random   the exact expectation of pointing at any region: the share of region centres inside the boxes
    centre   always pointing at the middle region; where the grid has no middle row or column, the mean over the
             two (or four) middle ones

Phrases without a token (cut off, or no known word) or without a box are not counted. A phrase of two types, written
"animals/people" as in Flickr30k Entities, counts under both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import to_host
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_shape


class Score(NamedTuple):
    """Shares from 0 to 1 over this many phrases."""
    accuracy: float
    random: float
    centre: float
    phrases: int


class Pointing(NamedTuple):
    accuracy: float
    random: float
    centre: float
    phrases: int
    by_type: dict[str, Score]

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "by_type": {kind: score._asdict() for kind, score in self.by_type.items()}}


def pointing_accuracy(
    attention_of: Callable[[int], Any],
    phrases: Sequence[Sequence[tuple[Sequence[int], Any, str]]],
    region_boxes: Any,
    grid: tuple[int, int],
    smooth: int = 1,
) -> Pointing:
    """Play the game over all captions.

    `attention_of(c)` gives A_t2v (h, n, m) of caption c with its own image; it is called only where there is a phrase.
    `phrases[c]` lists (token indices, boxes (B, 4), type). Boxes and `region_boxes` (m, 4) are [x0, y0, x1, y1] in
    fractions of the image's width and height; regions run along the rows of `grid` = (rows, columns).
    """
    rows, columns = grid
    region_boxes = np.asarray(region_boxes, dtype=float)
    check_shape("region_boxes", region_boxes, (rows * columns, 4), f"one box a region of the {rows}×{columns} grid")
    if smooth < 1 or smooth % 2 == 0:
        raise ValueError(f"smooth={smooth} is not an odd number: 1 leaves the weights as they are, 3 takes 3×3 means")
    centres = (region_boxes[:, :2] + region_boxes[:, 2:]) / 2
    middle = _middle(rows, columns)

    results, types = [], []
    for caption, listed in enumerate(phrases):
        usable = [(np.asarray(t, dtype=int), _boxes(b, caption), kind) for t, b, kind in listed if len(t) and len(b)]
        if not usable:
            continue
        A = to_host(attention_of(caption))
        check_array(f"the attention of caption {caption}", A, ndim=3)
        check_finite(f"the attention of caption {caption}", A)
        if A.shape[2] != len(centres):
            raise ShapeError(
                f"the attention of caption {caption} has shape {A.shape}, expected (heads, tokens, {len(centres)})"
            )
        for tokens, boxes, kind in usable:
            if tokens.min() < 0 or tokens.max() >= A.shape[1]:
                raise ShapeError(
                    f"caption {caption} has a phrase at tokens {tokens.tolist()}, its attention has {A.shape[1]} tokens"
                )
            inside = _inside(centres, boxes)
            a = _smooth(A[:, tokens].mean(axis=(0, 1)), rows, columns, smooth)  # (1), (2)
            results.append((inside[a.argmax()], inside.mean(), inside[middle].mean()))  # (3)
            types.append(kind.split("/"))
    if not results:
        raise ShapeError("no phrase has both a token and a box: there is nothing to point at")
    table = np.array(results, dtype=float)
    by_type = {
        kind: _score(table[[kind in listed for listed in types]]) for kind in sorted({k for listed in types for k in listed})
    }
    return Pointing(*_score(table), by_type)


def _boxes(boxes: Any, caption: int) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=float)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"caption {caption} has a phrase with boxes of shape {boxes.shape}, expected (B, 4)")
    return boxes


def _inside(centres: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(m,) bool: the centre lies inside, or on the edge of, any of the boxes."""
    over = (centres[:, None] >= boxes[None, :, :2]) & (centres[:, None] <= boxes[None, :, 2:])
    return over.all(axis=2).any(axis=1)


def _middle(rows: int, columns: int) -> np.ndarray:
    """Numbers of the regions in the middle of the grid: 1, 2 or 4."""
    middle_rows = range((rows - 1) // 2, rows // 2 + 1)
    middle_columns = range((columns - 1) // 2, columns // 2 + 1)
    return np.array([row * columns + column for row in middle_rows for column in middle_columns])


def _smooth(a: np.ndarray, rows: int, columns: int, size: int) -> np.ndarray:
    """(m,) each weight the mean over its size × size neighbourhood, as far as that lies on the grid."""
    if size == 1:
        return a
    reach = size // 2
    padded = np.pad(a.reshape(rows, columns).astype(np.float64), reach, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    return np.nanmean(windows, axis=(2, 3)).ravel()


def _score(table: np.ndarray) -> Score:
    accuracy, random, centre = table.mean(axis=0)
    return Score(float(accuracy), float(random), float(centre), len(table))
