"""A data set: captions and the region features of the images they describe, from whatever layout they are in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnretrieval.inputs.captions import Captions, load_captions, read_names
from attnretrieval.inputs.files import InputError, need_folder
from attnretrieval.inputs.precomputed import is_precomputed, load_precomputed
from attnretrieval.inputs.regions import open_regions


@dataclass(frozen=True)
class Dataset:
    """`regions[i]` belongs to `captions.image_names[i]`."""

    captions: Captions
    regions: np.ndarray             # (I, m, d_v)
    extractor: str
    grid: tuple[int, int]
    boxes: np.ndarray | None        # (m, 4) fractions of the image; None where nobody kept them


def load_dataset(features: str | Path, captions: str | Path | None = None, split: str | None = None) -> Dataset:
    """A split of a data set.

    `features` is a folder made by `attnretrieval features`, with `captions` a file in one of the layouts of captions.py and
    `split` a file of image names, the name of a Karpathy split, or None for all. Or it is a folder in the layout of
    precomputed.py, which holds its own captions, and `split` names the part.
    """
    need_folder(features, "the folder of features")
    if captions is None:
        if not is_precomputed(features, split):
            raise InputError(f"{features} holds no {split or 'SPLIT'}_ims.npy; give the captions of its images (--captions)")
        words, regions = load_precomputed(features, split)
        check_finite_features(regions, words.image_names)
        return Dataset(words, regions, "precomputed", (1, regions.shape[1]), None)
    store = open_regions(features)
    if split is None or Path(split).is_file():
        words = load_captions(captions)
        words = words.subset(read_names(split)) if split is not None else words
    else:
        try:
            words = load_captions(captions, split=split)
        except InputError as error:
            load_captions(captions)         # says what is wrong with the file itself, if anything is
            raise InputError(f"the split {split} is no file of image names, and no split of {captions} ({error})") from error
    return Dataset(words, store.take(words.image_names, "float16"), store.extractor, store.grid, store.boxes)


def check_finite_features(regions: np.ndarray, names: list[str]) -> None:
    """Refuse NaN and infinity, naming the first image that has one."""
    for i, X in enumerate(regions):
        if not np.isfinite(X).all():
            raise InputError(f"the features of {names[i]} hold NaN or infinity; compute them again")
