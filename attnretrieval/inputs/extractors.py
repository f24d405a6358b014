"""Extractors: from the pixels of one image to the features of its regions, chosen by name.

    efficientnet-lite0    49 regions (7×7) of 1280 features: the last map of a pretrained network
    patches               16 regions (4×4) of raw pixels, for generated scenes
    onnx:FILE             whatever network FILE holds, through onnxruntime

An extractor is any object with `name`, `grid` (rows, columns), `d_v`, `size` (height and width that it takes) and a call from
an image (height, width, 3) uint8 to features (rows · columns, d_v) float32. To add one, write a class and name it in
EXTRACTORS.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from attnretrieval.inputs.efficientnet import CHANNELS, GRID, SIZE, feature_map, load_efficientnet
from attnretrieval.inputs.files import InputError, need_file, need_package


class Extractor(Protocol):
    name: str
    grid: tuple[int, int]
    d_v: int
    size: tuple[int, int]

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


class EfficientNetExtractor:
    name = "efficientnet-lite0"
    grid, d_v, size = GRID, CHANNELS, (SIZE, SIZE)

    def __init__(self) -> None:
        self.net = load_efficientnet()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return feature_map(self.net, image.astype(np.float32)).reshape(-1, CHANNELS)


class PatchExtractor:
    """The pixels of each cell, from -1 to 1."""

    name = "patches"
    grid, d_v, size = (4, 4), 16 * 16 * 3, (64, 64)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        rows, columns = self.grid
        cells = image.reshape(rows, 16, columns, 16, 3).swapaxes(1, 2)
        return cells.reshape(rows * columns, self.d_v).astype(np.float32) / np.float32(127.5) - 1


class OnnxExtractor:
    """A network in an ONNX file: one image (1, 3, height, width) in, its feature map (1, c, rows, columns) out.

    Pixels come in as (x / 255 - mean) / deviation with the ImageNet constants, as torchvision's and timm's networks want them.
    """

    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)

    def __init__(self, path: str | Path) -> None:
        self.name = f"onnx:{path}"
        path = need_file(path, "the ONNX file")
        runtime = need_package("onnxruntime", extra="onnx", purpose="an extractor from an ONNX file")
        options = runtime.SessionOptions()
        if os.environ.get("OMP_NUM_THREADS") == "1":        # as in the processes of extract.py; onnxruntime does not ask
            options.intra_op_num_threads = 1
        try:
            self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            inputs = self.session.get_inputs()
            shape = inputs[0].shape
            if len(inputs) != 1 or len(shape) != 4:
                raise InputError(f"{path} takes {[(i.name, i.shape) for i in inputs]}, expected one image "
                                 "(1, 3, height, width)")
            self.input = inputs[0].name
            self.size = tuple(n if isinstance(n, int) else 224 for n in shape[2:])
            features = self._run(np.zeros((*self.size, 3), np.uint8))
        except InputError:
            raise
        except Exception as error:      # onnxruntime's own exceptions share no public base
            reason = " ".join(str(error).split())
            raise InputError(f"{path} is not a network that onnxruntime can run on one image: {reason}") from error
        if features.ndim != 4 or features.shape[0] != 1:
            raise InputError(f"{path} gives features {features.shape}, expected one map (1, channels, rows, columns); cut the "
                             "network before its pooling")
        self.d_v, self.grid = features.shape[1], features.shape[2:]

    def _run(self, image: np.ndarray) -> np.ndarray:
        X = (image.astype(np.float32) / 255 - self.mean) / self.deviation
        return self.session.run(None, {self.input: X.transpose(2, 0, 1)[None]})[0]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self._run(image)[0].reshape(self.d_v, -1).T.astype(np.float32)


EXTRACTORS = {"efficientnet-lite0": EfficientNetExtractor, "patches": PatchExtractor}


def make_extractor(name: str) -> Extractor:
    """The extractor by name; "onnx:FILE" takes a network from a file."""
    if name.startswith("onnx:"):
        return OnnxExtractor(name[5:])
    if name not in EXTRACTORS:
        raise InputError(f"extractor {name!r} is not one of {', '.join(EXTRACTORS)}, onnx:FILE")
    return EXTRACTORS[name]()


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> tuple[np.ndarray, tuple[int, int]]:
    """(height, width, 3) uint8, upright and in colour, resized to `size`; and the original width and height."""
    path = need_file(path, "the image")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode[0] in "IF":           # Pillow would cut all above 255 off
                image = _eight_bits(image)
            image = image.convert("RGB")
    except Exception as error:                  # a damaged file raises whatever its bytes happen to provoke
        raise InputError(f"the image {path} cannot be read ({error})") from error
    original = image.size
    if size is not None and original != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image), original


def _eight_bits(image: Image.Image) -> Image.Image:
    """A greyscale image of 16 bits in 8."""
    if image.mode == "F":
        raise ValueError("its pixels are floats, expected 8 or 16 bits; save it as PNG or JPEG")
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
