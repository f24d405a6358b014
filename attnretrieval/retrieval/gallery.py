"""A gallery on disk: what a search needs, encoded once.

    manifest.json       format, version, when, d, counts, the model's fingerprint, the size of every file
    model.npz           a copy of the model that encoded it; queries must be encoded with the same
    images/             ids.json  names          g.npy (N, d)  tokens.npy (N, m, d)  mask.npy (N, m)
    texts/              captions.json            g.npy (C, d)  tokens.npy (C, n, d)  mask.npy (C, n)  image_of.npy (C,)

`g` is g⁰ as the model gives it, not normalised: the index takes its cosine, and the paired score may need it too.
`tokens` and `mask` are what `rerank` and `exhaustive` read; without them the gallery is small and serves `index` only.
Images only, texts only, or both. `image_of` is there when the captions' images are known.

Arrays are opened memory-mapped, so opening takes milliseconds and a search reads only what it uses. A gallery is
written whole or not at all. A change of the layout raises VERSION.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from attnretrieval.backend import to_host
from attnretrieval.inputs.files import InputError, atomic_folder, need_file, need_folder
from attnretrieval.model import Encoded
from attnretrieval.retrieval.kept_products import KeptProducts
from attnretrieval.retrieval.nearest import CosineIndex
from attnretrieval.shapes import check_choice, check_range

FORMAT = "attnretrieval-gallery"
VERSION = 1
ENTRIES = {"version", "created", "d", "images", "texts", "tokens", "model", "files"}     # of the manifest


@dataclass(frozen=True)
class Gallery:
    """An open gallery. The arrays of `images` and `texts` are read-only memory maps; H is None without tokens."""

    path: Path
    d: int
    fingerprint: str
    created: str
    images: Encoded | None
    image_names: list[str]
    texts: Encoded | None
    captions: list[str]
    image_of: np.ndarray | None
    keep_mib: float = 256           # memory for what reranks by a gate compute of images, and as much again for texts; 0 = none

    @property
    def model_file(self) -> Path:
        return self.path / "model.npz"

    @cached_property
    def image_index(self) -> CosineIndex:
        """Made by the first search; reads all of g."""
        return CosineIndex(self.images.g)

    @cached_property
    def text_index(self) -> CosineIndex:
        return CosineIndex(self.texts.g)

    @cached_property
    def image_products(self) -> KeptProducts:
        """Filled by reranks; empty while the model has no gate."""
        return KeptProducts("v", self.images, int(self.keep_mib * 2**20))

    @cached_property
    def text_products(self) -> KeptProducts:
        return KeptProducts("t", self.texts, int(self.keep_mib * 2**20))


def write_gallery(
    path: str | Path,
    model_file: str | Path,
    images: Encoded | Iterable[Encoded] | None = None,
    image_names: Sequence[str] = (),
    texts: Encoded | Iterable[Encoded] | None = None,
    captions: Sequence[str] = (),
    image_of: Any = None,
    store_tokens: bool = True,
    token_dtype: str | None = None,
) -> None:
    """Write what `open_gallery` opens; an older gallery at `path` is replaced when the new one is complete.

    `images` and `texts` are one Encoded, or several in turn (a generator, for more than fits in memory), each as wide as
    the first. `image_of` (C,) gives for every caption the number of its image in `image_names`. `token_dtype` None keeps
    the model's; "float16" halves the folder and moves paired scores in the third or fourth digit.
    """
    path = Path(path)
    _may_replace(path)
    model_file = need_file(model_file, "the model file")
    check_choice("token_dtype", token_dtype, (None, "float16", "float32", "float64"))
    if images is None and texts is None:
        raise InputError(f"gallery {path}: neither images nor texts were given, there is nothing to store")
    image_of = _check_image_of(path, image_of, captions, image_names)
    twice = len(image_names) - len(set(image_names))
    if twice:
        raise InputError(f"gallery {path}: {twice} image names come more than once; every image needs its own name")
    with atomic_folder(path) as folder:
        shutil.copyfile(model_file, folder / "model.npz")
        d = None
        if images is not None:
            d = _write_side(path, folder / "images", images, len(image_names), store_tokens, token_dtype, d)
            _write_json(folder / "images" / "ids.json", list(image_names))
        if texts is not None:
            d = _write_side(path, folder / "texts", texts, len(captions), store_tokens, token_dtype, d)
            _write_json(folder / "texts" / "captions.json", list(captions))
            if image_of is not None:
                np.save(folder / "texts" / "image_of.npy", image_of)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "d": d,
            "images": 0 if images is None else len(image_names),
            "texts": 0 if texts is None else len(captions),
            "tokens": store_tokens,
            "model": fingerprint(folder / "model.npz"),
            "files": {file.relative_to(folder).as_posix(): file.stat().st_size for file in files},
        }
        _write_json(folder / "manifest.json", manifest)


def open_gallery(path: str | Path, keep_mib: float = 256) -> Gallery:
    """The gallery at `path`. Checks that every file is there with its full size; reads no array.

    `keep_mib`: how much memory reranks by a gate may keep of what they compute of an item (kept_products.py), a side.
    """
    check_range("keep_mib", keep_mib, 0)
    path = need_folder(path, "the gallery")
    manifest = _read_manifest(path)
    for name, size in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise InputError(f"gallery {path}: {name} is missing; index again")
        if file.stat().st_size != size:
            raise InputError(f"gallery {path}: {name} has {file.stat().st_size} bytes instead of {size}; index again")
    images, image_names = _open_side(path, "images", "ids.json", manifest)
    texts, captions = _open_side(path, "texts", "captions.json", manifest)
    image_of = None
    if "texts/image_of.npy" in manifest["files"]:
        image_of = _open_array(path, "texts/image_of.npy", (len(captions),))
    return Gallery(
        path, manifest["d"], manifest["model"], manifest["created"], images, image_names, texts, captions, image_of, keep_mib
    )


def fingerprint(model_file: str | Path) -> str:
    """SHA-256 of the file, in hexadecimal: two files with the same fingerprint are the same model."""
    with open(need_file(model_file, "the model file"), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- writing ---------------------------------------------------------------------------------------------------------


def _write_side(
    path: Path,
    folder: Path,
    blocks: Encoded | Iterable[Encoded],
    count: int,
    store_tokens: bool,
    token_dtype: str | None,
    d: int | None,
) -> int:
    """Write g, tokens and mask of `count` items; gives d, which must be the `d` of the other side."""
    what = folder.name
    if count == 0:
        raise InputError(f"gallery {path}: {what} were given without a name for each")
    folder.mkdir()
    files: dict[str, BinaryIO] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    done = 0
    with ExitStack() as open_files:
        for block in [blocks] if isinstance(blocks, Encoded) else blocks:
            arrays = {"g": to_host(block.g)}
            if store_tokens:
                arrays["tokens"], arrays["mask"] = _narrow(to_host(block.H), token_dtype), to_host(block.mask)
            start, done = done, done + len(block.g)
            d = d or arrays["g"].shape[1]
            if arrays["g"].shape[1] != d:
                raise InputError(f"gallery {path}: {what} have d={arrays['g'].shape[1]}, expected {d}; use one model")
            if done > count:
                raise InputError(f"gallery {path}: there are more {what} than the {count} names given")
            for name, x in arrays.items():
                if name not in files:
                    files[name] = open_files.enter_context(open(folder / f"{name}.npy", "wb"))
                    shapes[name] = x.shape[1:]
                    _write_header(files[name], x.dtype, (count, *x.shape[1:]))
                if x.shape[1:] != shapes[name]:
                    raise InputError(
                        f"gallery {path}: {name} of {what} {start} to {done - 1} are {x.shape[1:]}, "
                        f"those before {shapes[name]}; pad all to one length"
                    )
                _check_finite(path, what, name, x, start)
                # plain writes and no memory map: a full disk is then an error and not a crash
                files[name].write(np.ascontiguousarray(x).data)
    if done != count:
        raise InputError(f"gallery {path}: {done} {what} came for {count} names")
    return d


def _write_header(file: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)


def _narrow(H: np.ndarray, dtype: str | None) -> np.ndarray:
    # a value too large for float16 becomes infinite, and the check that follows says where
    with np.errstate(over="ignore"):
        return H.astype(dtype or H.dtype, copy=False)


def _check_finite(path: Path, what: str, name: str, x: np.ndarray, offset: int) -> None:
    for number, row in enumerate(x, offset):
        if not np.isfinite(row).all():
            raise InputError(
                f"gallery {path}: {name} of {what} number {number} has NaN or infinite values (as {x.dtype}); "
                "check its features and the model"
            )


def _check_image_of(path: Path, image_of: Any, captions: Sequence[str], names: Sequence[str]) -> np.ndarray | None:
    if image_of is None:
        return None
    image_of = np.asarray(image_of)
    if image_of.shape != (len(captions),) or image_of.dtype.kind not in "iu":
        raise InputError(
            f"gallery {path}: image_of has shape {image_of.shape} and dtype {image_of.dtype}, "
            f"expected an integer for each of the {len(captions)} captions"
        )
    if len(image_of) and (image_of.min() < 0 or image_of.max() >= len(names)):
        raise InputError(
            f"gallery {path}: image_of holds {image_of.min()} to {image_of.max()}, but {len(names)} image names were given"
        )
    return image_of.astype(np.int64)


def _may_replace(path: Path) -> None:
    """Only a gallery or nothing may be replaced: a slip in the path must not cost somebody's folder."""
    if path.is_file():
        raise InputError(f"the gallery {path} is a file, expected a folder or a new name")
    if path.is_dir() and any(path.iterdir()):
        try:
            _read_manifest(path, any_version=True)
        except InputError:
            raise InputError(f"{path} is a folder with other things in it; choose a new name for the gallery") from None


def _write_json(path: Path, content: Any) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)


# ---- opening ---------------------------------------------------------------------------------------------------------


def _read_manifest(path: Path, any_version: bool = False) -> dict[str, Any]:
    file = path / "manifest.json"
    if not file.is_file():
        raise InputError(f"{path} is no gallery: it has no manifest.json")
    manifest = _read_json(path, "manifest.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is no gallery: its manifest.json does not say {FORMAT}")
    if not any_version and manifest.get("version") != VERSION:
        raise InputError(
            f"gallery {path} has version {manifest.get('version')}, this program reads version {VERSION}; index again"
        )
    if not manifest.keys() >= ENTRIES:
        raise InputError(f"gallery {path}: manifest.json lacks {sorted(ENTRIES - manifest.keys())}; index again")
    return manifest


def _read_json(path: Path, name: str) -> Any:
    try:
        with open(path / name, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:     # broken JSON or broken UTF-8
        raise InputError(f"gallery {path}: {name} cannot be read ({error}); index again") from error


def _open_side(path: Path, side: str, names_file: str, manifest: dict[str, Any]) -> tuple[Encoded | None, list[str]]:
    count, d = manifest[side], manifest["d"]
    if count == 0:
        return None, []
    names = _read_json(path, f"{side}/{names_file}")
    if len(names) != count:
        raise InputError(f"gallery {path}: {side}/{names_file} holds {len(names)} entries, expected {count}; index again")
    g = _open_array(path, f"{side}/g.npy", (count, d))
    if not manifest["tokens"]:
        return Encoded(None, None, g), names
    mask = _open_array(path, f"{side}/mask.npy", (count, None))
    return Encoded(_open_array(path, f"{side}/tokens.npy", (count, mask.shape[1], d)), mask, g), names


def _open_array(path: Path, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        x = np.load(path / name, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"gallery {path}: {name} cannot be read ({error}); index again") from error
    if x.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, x.shape, strict=True)):
        raise InputError(f"gallery {path}: {name} has shape {x.shape}, expected {shape}; index again")
    return x
