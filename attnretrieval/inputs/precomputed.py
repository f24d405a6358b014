"""Features that others computed, in the layout of VSE++ and SCAN:

    {split}_ims.npy     (I, m, d_v) features of the regions, or (I, d_v) of whole images; opened memory-mapped
    {split}_caps.txt    one caption a line
    {split}_map.txt     optional: for every caption the number of its image, from 0

Without a map there are equally many captions an image, in the order of the images: five in these data sets. Files in which the
features stand five times, once a caption, are recognised by their row count and read once an image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from attnretrieval.inputs.captions import Captions, read_text
from attnretrieval.inputs.files import InputError, need_file

CAPTIONS_PER_IMAGE = 5


def is_precomputed(folder: str | Path, split: str | None) -> bool:
    """Whether `folder` holds this split in this layout."""
    return split is not None and (Path(folder) / f"{split}_ims.npy").is_file()


def load_precomputed(folder: str | Path, split: str, image_of: np.ndarray | None = None) -> tuple[Captions, np.ndarray]:
    """Captions, and features (I, m, d_v) as a memory map. `image_of` (C,) is a map that takes the place of the file."""
    folder = Path(folder)
    path = need_file(folder / f"{split}_ims.npy", "the features")
    try:
        features = np.lib.format.open_memmap(path, mode="r")        # reads no pickles
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not an array of numbers, or is cut off ({error})") from error
    if features.ndim not in (2, 3) or features.dtype.kind != "f":
        raise InputError(f"{path} has shape {features.shape} of {features.dtype}, expected floats (images, regions, d_v)")
    if 0 in features.shape:
        raise InputError(f"{path} is empty: its shape is {features.shape}, expected (images, regions, d_v)")
    if features.ndim == 2:
        features = features[:, None]
    captions_path = folder / f"{split}_caps.txt"
    texts = read_text(captions_path, "the captions").split("\n")
    texts = [line.strip() for line in (texts[:-1] if texts[-1] == "" else texts)]
    if not texts:
        raise InputError(f"{captions_path} holds no captions")
    if "" in texts:
        raise InputError(f"{captions_path}:{texts.index('') + 1}: the caption is empty")
    map_path = folder / f"{split}_map.txt"
    if image_of is None and map_path.is_file():
        image_of = _read_map(map_path)
    if image_of is None:
        if len(texts) == len(features) and len(texts) % CAPTIONS_PER_IMAGE == 0 and _is_repeated(features):
            features = features[::CAPTIONS_PER_IMAGE]
        per_image, rest = divmod(len(texts), len(features))
        if rest or per_image == 0:
            raise InputError(f"{captions_path} holds {len(texts)} captions for the {len(features)} images of {path}: not "
                             f"equally many an image; give the map in {map_path.name}")
        image_of = np.repeat(np.arange(len(features)), per_image)
    image_of = np.asarray(image_of)
    if image_of.ndim != 1 or image_of.dtype.kind not in "iu":
        raise InputError(f"the map has shape {image_of.shape} of {image_of.dtype}, expected one whole number a caption")
    if len(image_of) != len(texts):
        raise InputError(f"the map has {len(image_of)} numbers for the {len(texts)} captions of {captions_path}; one a caption")
    outside = (image_of < 0) | (image_of >= len(features))
    if outside.any():
        i = int(outside.argmax())
        raise InputError(f"the map gives caption {i + 1} of {captions_path} the image {image_of[i]}, there are 0 to "
                         f"{len(features) - 1}")
    return Captions([f"{split}_{i}" for i in range(len(features))], texts, image_of.astype(np.int64)), features


def _is_repeated(features: np.ndarray) -> bool:
    """Whether the first and the last image stand several times, one after the other."""
    k = CAPTIONS_PER_IMAGE
    return all(bool((group == group[0]).all()) for group in (features[:k], features[-k:]))


def _read_map(path: Path) -> np.ndarray:
    numbers = []
    for line, text in enumerate(read_text(path, "the map of captions to images").splitlines(), start=1):
        text = text.strip()
        if not (text.isascii() and text.isdigit() and len(text) < 19):      # 19 digits may not fit in 64 bits
            raise InputError(f"{path}:{line}: {text!r:.40} is not the number of an image; one number a line, from 0")
        numbers.append(int(text))
    return np.array(numbers, np.int64)
