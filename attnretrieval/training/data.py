"""Training data as arrays, and the batches drawn from it.

A batch is some images with several captions of each. All randomness of an epoch (the order, which captions, which words and
regions are dropped) comes from the generator that the caller passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnretrieval.shapes import ShapeError
from attnretrieval.training.objective import Batch


class TrainingData(NamedTuple):
    ids: np.ndarray             # (C, n) words of every caption
    word_mask: np.ndarray       # (C, n) True = a real word
    image_of: np.ndarray        # (C,) the image that each caption describes
    regions: np.ndarray         # (I, m, d_v), in memory or memory-mapped, float16 or wider


def check_data(data: TrainingData) -> None:
    """Every image has a caption, every caption an image and a word."""
    images = len(data.regions)
    if not len(data.ids) == len(data.word_mask) == len(data.image_of):
        raise ShapeError(f"{len(data.ids)} captions, {len(data.word_mask)} masks and {len(data.image_of)} image numbers: "
                         "one of each a caption")
    if len(data.image_of) == 0 or data.image_of.min() < 0 or data.image_of.max() >= images:
        raise ShapeError(f"image_of must name images 0 to {images - 1}")
    bare = images - len(np.unique(data.image_of))
    if bare:
        raise ShapeError(f"{bare} of {images} images have no caption; leave them out")


def steps_in_epoch(data: TrainingData, batch_images: int) -> int:
    """Batches in an epoch; a last batch of one image has no negative and is left out."""
    full, rest = divmod(len(data.regions), batch_images)
    return full + (rest > 1)


def draw_batches(
    data: TrainingData, rng: np.random.Generator, batch_images: int, captions_per_image: int,
    drop_words: float = 0.0, drop_regions: float = 0.0, dtype: str = "float32",
) -> Iterator[Batch]:
    """One epoch: every image once, with up to `captions_per_image` of its captions, drawn anew."""
    by_image = np.argsort(data.image_of, kind="stable")
    start = np.searchsorted(data.image_of[by_image], np.arange(len(data.regions) + 1))
    order = rng.permutation(len(data.regions))
    for step in range(steps_in_epoch(data, batch_images)):
        images = order[step * batch_images:(step + 1) * batch_images]
        chosen, paired = [], []
        for image in images:
            own = rng.permutation(by_image[start[image]:start[image + 1]])[:captions_per_image]
            paired.append(len(chosen))                  # one caption an image takes part in the paired term
            chosen.extend(own)
        captions = np.array(chosen)
        word_mask = data.word_mask[captions]
        n = int(np.flatnonzero(word_mask.any(axis=0))[-1]) + 1
        word_mask = drop(word_mask[:, :n], drop_words, rng)
        region_mask = drop(np.ones((len(images), data.regions.shape[1]), bool), drop_regions, rng)
        regions = np.asarray(data.regions[np.sort(images)], dtype)[np.argsort(np.argsort(images))]  # read in file order
        positives = data.image_of[captions][:, None] == images
        yield Batch(data.ids[captions][:, :n], word_mask, regions, region_mask, positives, np.array(paired))


def drop(mask: np.ndarray, p: float, rng: np.random.Generator) -> np.ndarray:
    """`mask` with each True made False with probability p, but never the last one of a row."""
    if p == 0:
        return mask
    kept = mask & (rng.random(mask.shape) >= p)
    emptied = mask.any(axis=1) & ~kept.any(axis=1)
    kept[emptied] = mask[emptied]
    return kept
