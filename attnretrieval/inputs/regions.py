"""Region features on disk, and the projection that makes them smaller.

A store is a folder:

    manifest.json    format, version, extractor, grid, boxes of the regions, names and sizes of the images
    features.npy     (N, m, d_v) float16, opened memory-mapped

`boxes` are fractions [x0, y0, x1, y1] of the original image's width and height, so they hold at any size; a region of the grid
(rows, cols) has the number row · cols + column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attnretrieval.inputs.files import InputError, need_folder
from attnretrieval.shapes import ShapeError

FORMAT = "attnretrieval-regions"
VERSION = 1
BLOCK = 256             # images read at once by the projection


def grid_boxes(rows: int, columns: int) -> np.ndarray:
    """(rows · columns, 4) float32: the cells of a grid over the whole image."""
    y, x = (i.ravel() for i in np.mgrid[:rows, :columns])
    return np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1).astype(np.float32)


@dataclass(frozen=True)
class RegionStore:
    """An open store."""

    path: Path
    names: list[str]
    regions: np.ndarray         # (N, m, d_v), a read-only memory map
    sizes: np.ndarray           # (N, 2) width and height of the original images, in pixels
    boxes: np.ndarray           # (m, 4)
    grid: tuple[int, int]
    extractor: str

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """Where these images are in the store; says which are missing."""
        place = {name: i for i, name in enumerate(self.names)}
        missing = [name for name in names if name not in place]
        if missing:
            raise InputError(f"{len(missing)} of {len(names)} images have no features in {self.path}, the first is "
                             f"{missing[0]}; extract them too (attnretrieval features)")
        return np.array([place[name] for name in names], np.int64)

    def take(self, names: Sequence[str], dtype: str = "float32") -> np.ndarray:
        """(len(names), m, d_v), in memory; refuses NaN and infinity."""
        rows = self.rows(names)
        features = np.empty((len(rows), *self.regions.shape[1:]), dtype)
        for start in range(0, len(rows), BLOCK):
            block = self.regions[rows[start:start + BLOCK]]
            finite = np.isfinite(block).all(axis=(1, 2))
            if not finite.all():
                spoilt = names[start + int(np.argmin(finite))]
                raise InputError(f"the features of {spoilt} in {self.path} hold NaN or infinity; extract them again")
            features[start:start + BLOCK] = block
        return features


def write_manifest(folder: Path, names: Sequence[str], sizes: np.ndarray, boxes: np.ndarray, grid: tuple[int, int],
                   extractor: str) -> None:
    """The last file of a store to be written."""
    facts = {"format": FORMAT, "version": VERSION, "extractor": extractor, "grid": list(grid), "boxes": boxes.tolist(),
             "names": list(names), "sizes": np.asarray(sizes).tolist()}
    (folder / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")      # ASCII: a file name may be no Unicode


def open_regions(path: str | Path) -> RegionStore:
    """Open a store; takes milliseconds, whatever its size."""
    path = need_folder(path, "the folder of features")
    if not (path / "manifest.json").is_file():
        raise InputError(f"{path} is not a folder of features (it has no manifest.json); make one with attnretrieval features")
    try:
        facts = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise InputError(f"{path} is not a folder of features that this version reads; make it again")
        regions = np.lib.format.open_memmap(path / "features.npy", mode="r")        # reads no pickles
        boxes, sizes = np.array(facts["boxes"], np.float32), np.array(facts["sizes"], np.int64)
        names, (rows, columns), extractor = facts["names"], facts["grid"], facts["extractor"]
        fits = (regions.ndim == 3 and regions.dtype.kind == "f" and regions.shape[:2] == (len(names), rows * columns)
                and boxes.shape == (rows * columns, 4) and sizes.shape == (len(names), 2))
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the folder of features {path} is damaged or cut off ({error}); extract it again") from error
    if not fits:
        raise InputError(f"the folder of features {path} does not fit together: features {regions.shape} of {regions.dtype}, "
                         f"{len(names)} names, a grid of {rows}×{columns}; extract it again")
    return RegionStore(path, names, regions, sizes, boxes, (rows, columns), extractor)


@dataclass(frozen=True)
class RegionProjection:
    """Principal components: V' = (V - mean) components, with one scale for all.

    The components are those of all training regions, orthogonal and not whitened; the scale makes the mean variance of a
    feature 1. Fitted on training images only.
    """

    mean: np.ndarray            # (d_v,)
    components: np.ndarray      # (d_v, d)

    @classmethod
    def fit(cls, regions: np.ndarray, d: int) -> RegionProjection:
        """The first `d` components of regions (N, m, d_v)."""
        d_v = regions.shape[-1]
        if not 1 <= d <= d_v:
            raise ShapeError(f"pca={d} is not between 1 and the {d_v} features of a region")
        origin = np.asarray(regions[0, 0], np.float32)      # near the mean: sums of squares far from it would cancel
        total, products, count = np.zeros(d_v), np.zeros((d_v, d_v)), 0
        for start in range(0, len(regions), BLOCK):
            V = np.asarray(regions[start:start + BLOCK], np.float32).reshape(-1, d_v) - origin
            total += V.sum(axis=0, dtype=np.float64)
            products += V.T @ V
            count += len(V)
        mean = total / count
        variances, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))      # smallest first
        if not variances[-1] > 0:
            raise ShapeError("pca finds no components: the features of all regions are the same")
        scale = 1 / np.sqrt(variances[-d:].mean())
        components = vectors[:, ::-1][:, :d] * scale
        components *= np.where(components.sum(axis=0) < 0, -1, 1)       # a component has no sign of its own; this fixes one
        return cls((origin + mean).astype(np.float32), components.astype(np.float32))

    def apply(self, regions: np.ndarray) -> np.ndarray:
        """(N, m, d) from regions (N, m, d_v)."""
        return (regions - self.mean) @ self.components

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"mean": self.mean, "components": self.components}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> RegionProjection:
        mean, components = arrays["mean"], arrays["components"]
        if mean.ndim != 1 or components.ndim != 2 or len(mean) != len(components):
            raise ShapeError(f"a projection with mean {mean.shape} and components {components.shape} does not fit together")
        return cls(mean, components)
