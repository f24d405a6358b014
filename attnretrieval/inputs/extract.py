"""Extraction: a folder of images becomes a store of region features (regions.py), on all cores.

Features go to disk as they come, into OUT.partial; `done.npy` there says which images are finished. A run that was stopped goes
on where it was, and the result is the same; images may have been added or taken out since. When the last image is done the
folder becomes OUT.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from tqdm import tqdm

from attnretrieval.inputs.extractors import Extractor, make_extractor, read_image
from attnretrieval.inputs.files import InputError, atomic_folder, need_folder
from attnretrieval.inputs.regions import RegionStore, grid_boxes, open_regions, write_manifest
from attnretrieval.threads import one_thread_each

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FEW = 16                # fewer images than this are not worth a pool of processes

Arrays = tuple[np.memmap, np.memmap, np.memmap]         # features, sizes, done


def image_names(folder: str | Path) -> list[str]:
    """The images in a folder, by name, in order."""
    files = need_folder(folder, "the folder of images").iterdir()
    names = sorted(path.name for path in files
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file())
    if not names:
        raise InputError(f"{folder} holds no image ({', '.join(sorted(SUFFIXES))})")
    return names


def extract_folder(
    images: str | Path, out: str | Path, extractor: str = "efficientnet-lite0", names: Sequence[str] | None = None,
    processes: int | None = None, show: bool = True,
) -> RegionStore:
    """Features of `names` (all images of the folder, by default) in the folder `images`, into the store `out`.

    `processes` None means one a core. A store at `out` that holds these images already is left as it is.
    """
    images, out = need_folder(images, "the folder of images"), Path(out)
    if processes is not None and processes < 1:
        raise InputError(f"processes={processes}, expected at least 1")
    names = image_names(images) if names is None else list(names)
    absent = [name for name in names if not (images / name).is_file()]
    if absent:
        raise InputError(f"{len(absent)} of {len(names)} images are not in {images}, the first is {absent[0]}")
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        if out.is_dir() and not (out / "manifest.json").exists():
            raise InputError(f"{out} holds files, and no features; choose another folder")
        store = open_regions(out)
        if store.names == names and store.extractor == extractor:
            return store
        raise InputError(f"{out} holds features of other images, or from {store.extractor!r}; choose another folder")
    made = make_extractor(extractor)
    partial = out.with_name(out.name + ".partial")
    try:
        _prepare(partial, names, made)
    except OSError as error:
        raise InputError(f"the folder {partial} cannot be written ({error})") from error
    run = _Run(made, images, partial)
    waiting = np.flatnonzero(~run.done).tolist()
    with tqdm(total=len(names), initial=len(names) - len(waiting), desc="features", unit="image", disable=not show) as bar:
        for _ in _extracted(run, waiting, processes or os.cpu_count() or 1):
            bar.update()
    for array in (run.features, run.sizes, run.done):
        array.flush()
    write_manifest(partial, names, run.sizes, grid_boxes(*made.grid), made.grid, made.name)
    if out.exists():
        out.rmdir()
    os.replace(partial, out)
    for leftover in ("sizes.npy", "done.npy", "job.json"):      # last: until the move a stopped run needs them
        (out / leftover).unlink()
    return open_regions(out)


def _prepare(partial: Path, names: list[str], extractor: Extractor) -> None:
    """Makes the folder of a run; what a stopped run finished of these images is in it."""
    job = {"extractor": extractor.name, "grid": list(extractor.grid), "d_v": extractor.d_v, "names": names}
    before, stopped = _stopped_run(partial, job) if partial.exists() else ([], ())
    if before != names:
        place = {name: i for i, name in enumerate(before)}
        with atomic_folder(partial) as folder:
            arrays = _arrays(folder, "w+", job)
            known = [i for i, name in enumerate(names) if name in place]
            for new, old in zip(arrays, stopped, strict=False):
                for i in known:
                    new[i] = old[place[names[i]]]
            (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def _stopped_run(partial: Path, job: dict) -> tuple[list[str], Arrays]:
    """Names and arrays of the run that was stopped; refuses what `atomic_folder` must not replace."""
    try:
        before = json.loads((partial / "job.json").read_text(encoding="utf-8"))
        arrays = _arrays(partial, "r+", before)
        names, extractor = before["names"], before["extractor"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{partial} is in the way and holds no stopped run; move it away or choose another folder") from error
    if {**before, "names": None} != {**job, "names": None}:
        raise InputError(f"{partial} holds a stopped run of the extractor {extractor!r}; delete it or choose another folder")
    return names, arrays


def _arrays(folder: Path, mode: str, job: dict) -> Arrays:
    """features (N, m, d_v), sizes (N, 2) and done (N,) of a job, memory-mapped."""
    count, regions = len(job["names"]), job["grid"][0] * job["grid"][1]
    kinds = {"features": (np.float16, (count, regions, job["d_v"])), "sizes": (np.int64, (count, 2)),
             "done": (np.bool_, (count,))}
    needed, free = 2 * math.prod(kinds["features"][1]), shutil.disk_usage(folder).free
    if mode == "w+" and needed > free:      # a memory map that meets a full disk ends the process
        raise InputError(f"the features of {count} images need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free in "
                         f"{folder.parent.parent}")
    arrays = tuple(np.lib.format.open_memmap(folder / f"{name}.npy", mode, *kind) for name, kind in kinds.items())
    if any((array.dtype, array.shape) != kind for array, kind in zip(arrays, kinds.values(), strict=True)):
        raise ValueError(f"the arrays in {folder} are not those of its job")
    return arrays


class _Run:
    """One process's share of the work: it writes features straight into the arrays of the folder."""

    def __init__(self, extractor: Extractor, images: Path, partial: Path) -> None:
        self.extractor, self.images, self.partial = extractor, images, partial
        job = json.loads((partial / "job.json").read_text(encoding="utf-8"))
        self.names = job["names"]
        self.features, self.sizes, self.done = _arrays(partial, "r+", job)

    def extract(self, i: int) -> None:
        path = self.images / self.names[i]
        try:
            image, size = read_image(path, self.extractor.size)
        except InputError as error:
            raise InputError(f"{error}; replace it or take it out, and start again: what is finished is kept") from error
        with np.errstate(over="ignore"):
            features = self.extractor(image).astype(np.float16)
        if not np.isfinite(features).all():
            raise InputError(f"the extractor {self.extractor.name} gives NaN for {path}, or more than float16 holds (65504)")
        self.features[i], self.sizes[i] = features, size
        self.done[i] = True                 # last: what is marked as done is done


def _extracted(run: _Run, waiting: list[int], processes: int) -> Iterator[None]:
    """Extracts the images that wait, and comes back after each."""
    if processes == 1 or len(waiting) < FEW:
        for i in waiting:
            yield run.extract(i)
        return
    # new processes, each with one thread of its own for products: more would wait for one another
    context = multiprocessing.get_context("spawn")
    start = (run.extractor.name, run.images, run.partial)
    try:
        with one_thread_each(), ProcessPoolExecutor(processes, context, _start_worker, start) as pool:
            yield from pool.map(_extract, waiting, chunksize=4)
    except BrokenProcessPool as error:
        raise RuntimeError("one of the processes was ended from outside; if memory is short, start again with fewer "
                           "(--processes): what is finished is kept") from error


_run: _Run | None = None        # of this process, when it is one of the pool


def _start_worker(name: str, images: Path, partial: Path) -> None:
    global _run
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C reaches the parent too, which ends its pool
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _run = _Run(make_extractor(name), images, partial)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its pool, which would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _extract(i: int) -> None:
    """Of an image only this number and the word that it is done pass between the processes, never its features."""
    _run.extract(i)
