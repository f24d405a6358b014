"""Reading and writing files: the errors a user sees, and writing whole or not at all.

Nothing here knows what a file means. A writer prepares its output under a temporary name beside the target and moves it
into place when it is complete, so that an interruption leaves either the old file or the new one, never a half.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where and what to do."""


class MissingExtra(InputError):
    """An optional package is needed and not installed."""


def need_file(path: str | Path, what: str) -> Path:
    """`path` as a Path when that file exists; `what` names its role in the message: "the captions file"."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{what} {path} is a folder, expected a file")
    if not path.exists():       # not is_file: a pipe may be read too
        raise InputError(f"{what} {path} does not exist")
    return path


def need_folder(path: str | Path, what: str) -> Path:
    """`path` as a Path when that folder exists."""
    path = Path(path)
    if path.is_file():
        raise InputError(f"{what} {path} is a file, expected a folder")
    if not path.is_dir():
        raise InputError(f"{what} {path} does not exist")
    return path


def make_parents(path: str | Path) -> Path:
    """`path` as a Path, in a folder that exists: made with its parents where it did not."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        in_the_way = next(folder for folder in path.parents if folder.exists())
        raise InputError(f"{path} cannot be written: {in_the_way} is a file") from error
    return path


def need_package(name: str, extra: str, purpose: str) -> ModuleType:
    """The optional package `name`, or a message that says which extra brings it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f'{purpose} needs the package {name}, which is not installed: pip install "attnretrieval[{extra}]"'
        ) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name, nothing unpickled; a ValueError for any other file."""
    if not zipfile.is_zipfile(path):        # np.load would speak of pickles
        raise ValueError("no archive of arrays, or cut off")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except Exception as error:      # a damaged archive can fail at any of its bytes, in many ways
        raise ValueError(f"{type(error).__name__}: {error}") from error


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary path of the same suffix to write to; it becomes `path` when the block ends without an error."""
    path = make_parents(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected the name of a file to write")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes `path`, replacing what was there, when the block ends without an error."""
    path = Path(path)
    if path.exists():
        need_folder(path, "the output")
    make_parents(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(new, path)
        except BaseException:       # an interruption too
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
