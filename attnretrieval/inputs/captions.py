"""Captions and the images they describe, from the four layouts in which caption data sets are published.

    flickr8k    Flickr8k.token.txt, Flickr30k's results.token   NAME.jpg#k<TAB>caption
    csv         Kaggle's captions.txt                           a header image,caption, then one row a caption
    karpathy    dataset_flickr8k.json, dataset_coco.json        images[].filename, .split, .sentences[].raw
    coco        captions_train2017.json                         images[].id, .file_name, annotations[].image_id, .caption

Every text file is UTF-8; a byte order mark, Windows line ends and blank lines are let through, anything else that is not in
the layout stops with one line that names file and line (in JSON, the entry). Texts are kept as written: cutting them into
words is `words.py`. A new layout is one more `_read_*` function that yields (image name, caption, where) and a line in
`LAYOUTS` and `_detect`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnretrieval.inputs.files import InputError, need_file

_Row = tuple[str, str, str]  # image name, caption, where it stands
HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Captions:
    """`texts[i]` describes the image `image_names[image_of[i]]`."""

    image_names: list[str]
    texts: list[str]
    image_of: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, names: Sequence[str]) -> Captions:
        """The captions of these images, image by image in the order of `names`."""
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise InputError(f"the image {twice} is asked for twice; list each image once")
        column = {name: i for i, name in enumerate(self.image_names)}
        missing = [name for name in names if name not in column]
        if missing:
            raise InputError(f"{len(missing)} of {len(names)} images have no captions, the first is {missing[0]}; "
                             f"take them out of the list of names or add their captions")
        order = np.argsort(self.image_of, kind="stable")
        counts = np.bincount(self.image_of, minlength=len(self.image_names))
        rows_of = np.split(order, np.cumsum(counts)[:-1]) if len(counts) else []
        rows = [rows_of[column[name]] for name in names]
        image_of = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        return Captions(list(names), [self.texts[i] for r in rows for i in r], image_of)

    def positives(self) -> np.ndarray:
        """(C, I) bool: caption describes image."""
        return self.image_of[:, None] == np.arange(len(self.image_names))


def load_captions(path: str | Path, layout: str = "auto", split: str | None = None) -> Captions:
    """All captions of a file, in its order; images in the order in which they first appear.

    `split` picks "train", "val" or "test" of a Karpathy file; its "restval" counts as train.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise InputError(f"layout {layout!r} is not one of auto, {', '.join(LAYOUTS)}")
    text = read_text(path, "the captions file")
    if layout == "auto":
        layout = _detect(path, text)
    if split is not None and layout != "karpathy":
        raise InputError(f"{path}: split {split!r} was asked for, and only the layout karpathy holds splits, this one is "
                         f"{layout}; give a file of image names instead")
    rows = _read_karpathy(path, text, split) if layout == "karpathy" else LAYOUTS[layout](path, text)
    column: dict[str, int] = {}
    texts, image_of = [], []
    for name, caption, where in rows:
        name, caption = name.strip(), caption.strip()
        if not name:
            raise InputError(f"{where}: the image name is empty")
        if not caption:
            raise InputError(f"{where}: the caption of {name} is empty; write one or take the entry out")
        if HALF_CHARACTER.search(name + caption):  # JSON can write one, nothing can print it
            raise InputError(f"{where}: holds half a surrogate pair (\\ud800 to \\udfff), which is no character")
        image_of.append(column.setdefault(name, len(column)))
        texts.append(caption)
    if not texts:
        raise InputError(f"{path}: holds no captions")
    return Captions(list(column), texts, np.array(image_of, dtype=np.int64))


def read_names(path: str | Path) -> list[str]:
    """The image names of a split file, one a line."""
    names: dict[str, int] = {}
    for line, name in _lines(read_text(path, "the file of image names")):
        name = name.strip()
        if name in names:
            raise InputError(f"{path}:{line}: {name} stands on line {names[name]} already; list each image once")
        names[name] = line
    if not names:
        raise InputError(f"{path}: holds no image names, expected one a line")
    return list(names)


def read_text(path: str | Path, what: str) -> str:
    """The whole of a UTF-8 text file; `what` names its role in the message: "the captions file"."""
    data = need_file(path, what).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[:error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8; "
                         f"save the file with the encoding UTF-8") from None


def read_json(path: str | Path, text: str) -> Any:
    """The value of a JSON text that came from `path`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: is not valid JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise InputError(f"{path}: is JSON nested too deeply to be captions") from None


def entry(value: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`value[key]` of a JSON object when it is there and of the right kind."""
    if not isinstance(value, dict) or key not in value:
        raise InputError(f"{where}: has no {key!r}")
    found = value[key]
    if not isinstance(found, kind) or isinstance(found, bool):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: {key!r} is a {type(found).__name__}, expected {names}")
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and content of the lines that are not blank. Not `splitlines`: a caption may hold U+2028 or a form feed."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _detect(path: str | Path, text: str) -> str:
    """The layout that the beginning of the file speaks for."""
    start = text.lstrip()
    if not start:
        raise InputError(f"{path}: is empty, expected captions")
    if start[0] in "{[":
        data = read_json(path, text)
        if isinstance(data, dict) and "annotations" in data:
            return "coco"
        if isinstance(data, dict) and "images" in data:
            return "karpathy"
        raise InputError(f"{path}: is JSON with neither 'annotations' (coco) nor 'images' (karpathy)")
    line, first = next(_lines(text))
    key, tab, _ = first.partition("\t")
    if tab and "#" in key:
        return "flickr8k"
    if {"image", "caption"} <= {cell.strip().lower() for cell in first.split(",")}:
        return "csv"
    raise InputError(f"{path}:{line}: is in no known layout of captions; expected NAME.jpg#0<TAB>caption, "
                     f"or a header image,caption, or JSON of Karpathy or COCO; it begins {first[:40]!r}")


def _read_flickr8k(path: str | Path, text: str) -> Iterator[_Row]:
    for line, content in _lines(text):
        key, tab, caption = content.partition("\t")
        name, _, number = key.rpartition("#")
        if not tab or not name or not number.strip().isdecimal():
            raise InputError(f"{path}:{line}: expected NAME.jpg#k<TAB>caption, found {content[:60]!r}")
        yield name, caption, f"{path}:{line}"


def _read_csv(path: str | Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip().lower() for cell in row]
                if not {"image", "caption"} <= set(header):
                    raise InputError(f"{where}: the header is {','.join(row)[:60]!r}, expected the columns image and caption")
                continue
            if len(row) != len(header):
                raise InputError(f"{where}: has {len(row)} cells, expected {len(header)}; "
                                 f"put a caption with a comma in double quotes")
            yield row[header.index("image")], row[header.index("caption")], where
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: is not valid CSV: {error}") from None


def _read_karpathy(path: str | Path, text: str, split: str | None = None) -> Iterator[_Row]:
    images = entry(read_json(path, text), "images", list, str(path))
    splits: set[str] = set()
    for i, image in enumerate(images):
        where = f"{path}: images[{i}]"
        name = entry(image, "filename", str, where)
        if split is not None:
            of_image = entry(image, "split", str, where)
            of_image = "train" if of_image == "restval" else of_image
            splits.add(of_image)
            if of_image != split:
                continue
        sentences = entry(image, "sentences", list, where)
        if not sentences:
            raise InputError(f"{where}: {name} has no captions; take it out")
        for k, sentence in enumerate(sentences):
            yield name, entry(sentence, "raw", str, f"{where}.sentences[{k}]"), f"{where}.sentences[{k}]"
    if split is not None and split not in splits:
        raise InputError(f"{path}: has no split {split!r}, only {', '.join(sorted(splits)) or 'images without one'}")


def _read_coco(path: str | Path, text: str) -> Iterator[_Row]:
    data = read_json(path, text)
    names: dict[int | str, str] = {}
    for i, image in enumerate(entry(data, "images", list, str(path))):
        where = f"{path}: images[{i}]"
        names[entry(image, "id", (int, str), where)] = entry(image, "file_name", str, where)
    captioned = set()
    for i, annotation in enumerate(entry(data, "annotations", list, str(path))):
        where = f"{path}: annotations[{i}]"
        image = entry(annotation, "image_id", (int, str), where)
        if image not in names:
            raise InputError(f"{where}: describes image {image}, which is not among 'images'")
        captioned.add(image)
        yield names[image], entry(annotation, "caption", str, where), where
    missing = [name for image, name in names.items() if image not in captioned]
    if captioned and missing:
        raise InputError(f"{path}: {len(missing)} images have no captions, the first is {missing[0]}; take them out")


LAYOUTS = {"flickr8k": _read_flickr8k, "csv": _read_csv, "karpathy": _read_karpathy, "coco": _read_coco}
