"""Extraction: a folder of images becomes a store of region features (regions.py), on all cores.

Features go to disk as they come, into OUT.partial; `done.npy` there says which images are finished. A run that was stopped goes
on where it was, and the result is the same. When the last image is done the folder becomes OUT.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from attnretrieval.inputs.extractors import Extractor, make_extractor, read_image
from attnretrieval.inputs.files import InputError, need_folder
from attnretrieval.inputs.regions import RegionStore, grid_boxes, open_regions, write_manifest

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
FEW = 16                # fewer images than this are not worth a pool of processes
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def image_names(folder: str | Path) -> list[str]:
    """The images in a folder, by name, in order."""
    files = need_folder(folder, "the folder of images").iterdir()
    names = sorted(path.name for path in files if path.suffix.lower() in SUFFIXES)
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
    names = image_names(images) if names is None else list(names)
    absent = [name for name in names if not (images / name).is_file()]
    if absent:
        raise InputError(f"{len(absent)} of {len(names)} images are not in {images}, the first is {absent[0]}")
    if out.exists():
        store = open_regions(out)
        if store.names == names and store.extractor == extractor:
            return store
        raise InputError(f"{out} holds features of other images, or from {store.extractor!r}; choose another folder")
    made = make_extractor(extractor)
    partial = out.with_name(out.name + ".partial")
    features, sizes, done = _open_partial(partial, names, made)
    waiting = np.flatnonzero(~done)
    with tqdm(total=len(names), initial=len(names) - len(waiting), desc="features", unit="image", disable=not show) as bar:
        for i, X, size in _extracted(images, names, waiting, made, processes):
            features[i], sizes[i] = X, size
            done[i] = True                  # last: what is marked as done is done
            bar.update()
    for array in (features, sizes, done):
        array.flush()
    write_manifest(partial, names, sizes, grid_boxes(*made.grid), made.grid, made.name)
    for leftover in ("sizes.npy", "done.npy", "job.json"):
        (partial / leftover).unlink()
    os.replace(partial, out)
    return open_regions(out)


def _open_partial(partial: Path, names: list[str], extractor: Extractor) -> tuple[np.memmap, np.memmap, np.memmap]:
    """features, sizes, done: those of a run that was stopped, or new ones when there is none of this job."""
    job = {"extractor": extractor.name, "names": names}
    files = {"features": (np.float16, (extractor.grid[0] * extractor.grid[1], extractor.d_v)), "sizes": (np.int64, (2,)),
             "done": (np.bool_, ())}
    try:
        same = json.loads((partial / "job.json").read_text(encoding="utf-8")) == job
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    mode = "r+" if same else "w+"
    arrays = [np.lib.format.open_memmap(partial / f"{name}.npy", mode, dtype, (len(names), *shape))
              for name, (dtype, shape) in files.items()]
    if not same:
        (partial / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    return tuple(arrays)


def _extracted(
    images: Path, names: list[str], waiting: np.ndarray, extractor: Extractor, processes: int | None
) -> Iterator[tuple[int, np.ndarray, tuple[int, int]]]:
    """(number, features float16, original size) of each image that waits, in order."""
    jobs = [(int(i), str(images / names[i])) for i in waiting]
    processes = processes or os.cpu_count() or 1
    if processes == 1 or len(jobs) < FEW:
        yield from (_extract_one(extractor, job) for job in jobs)
        return
    # new processes, each with one thread of its own for products: more would wait for one another
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), context.Pool(processes, _start_worker, (extractor.name,)) as pool:
        yield from pool.imap(_work, jobs, chunksize=4)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside read these settings; this one's are put back."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_worker: Extractor | None = None        # of this process, when it is one of the pool


def _start_worker(name: str) -> None:
    global _worker
    _worker = make_extractor(name)


def _work(job: tuple[int, str]) -> tuple[int, np.ndarray, tuple[int, int]]:
    return _extract_one(_worker, job)


def _extract_one(extractor: Extractor, job: tuple[int, str]) -> tuple[int, np.ndarray, tuple[int, int]]:
    number, path = job
    image, size = read_image(path, extractor.size)
    return number, extractor(image).astype(np.float16), size
