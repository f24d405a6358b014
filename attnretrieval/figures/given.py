"""What the attention figures are given, checked once at the door, with the padding taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.backend import to_host
from attnretrieval.shapes import ShapeError, check_array, check_finite, check_mask, check_shape


class Given(NamedTuple):
    """A text and its image, real words and regions only."""

    image: np.ndarray           # (height, width, 3) uint8
    words: list[str]            # n labels
    A_t2v: np.ndarray           # (heads, n, m)
    A_v2t: np.ndarray           # (heads, m, n)
    boxes: np.ndarray           # (m, 4) fractions of the image
    real_words: np.ndarray      # the numbers of these words and regions among all that came
    real_regions: np.ndarray


def check_given(image: Any, words: Sequence[str], A_t2v: Any, A_v2t: Any, boxes: Any, word_mask: Any = None,
                region_mask: Any = None) -> Given:
    """The arguments of `word_region_maps` and `explanation_page` that say what is drawn."""
    A_t2v, A_v2t, boxes = to_host(A_t2v), to_host(A_v2t), np.asarray(boxes, float)
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
    image = check_image(image)
    real_words = np.flatnonzero(np.ones(n, bool) if word_mask is None else word_mask)
    real_regions = np.flatnonzero(np.ones(m, bool) if region_mask is None else region_mask)
    if not len(real_words) or not len(real_regions):
        raise ShapeError("every word or every region is padding: there is nothing to draw")
    return Given(image, [words[i] for i in real_words], A_t2v[:, real_words][:, :, real_regions],
                 A_v2t[:, real_regions][:, :, real_words], boxes[real_regions], real_words, real_regions)


def check_image(image: Any, name: str = "the image") -> np.ndarray:
    """One image (height, width, 3) uint8, as an array."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        hint = "; give one image of the batch" if image.ndim == 4 else ""
        raise ShapeError(f"{name} has shape {image.shape} and dtype {image.dtype}, expected (height, width, 3) uint8{hint}")
    return image


def check_some(name: str, x: np.ndarray) -> None:
    if not x.size:
        raise ShapeError(f"{name} has shape {x.shape}: there is nothing to draw")


def check_limit(limit: float | None) -> None:
    if limit is not None and not 0 < limit < np.inf:
        raise ShapeError(f"limit={limit} ends the scale of weights, so it is a number above 0")


def check_head(head: int | None, heads: int) -> None:
    if head is not None and not 0 <= head < heads:
        raise ShapeError(f"head {head} is asked for, the attention has heads 0 to {heads - 1}")
