"""Extractors by name, and reading images: upright, in colour, at the right size, or one line that names the file."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from attnretrieval.inputs.extractors import EXTRACTORS, PatchExtractor, make_extractor, read_image
from attnretrieval.inputs.files import InputError
from tests.messages import refused


def pixels(height=20, width=30, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_names():
    assert isinstance(make_extractor("patches"), PatchExtractor)
    assert all(cls.name == name and cls.d_v > 0 and len(cls.grid) == len(cls.size) == 2 for name, cls in EXTRACTORS.items())
    refused(lambda: make_extractor("Patches"), "'Patches'", "efficientnet-lite0", "patches", "onnx:FILE")
    refused(lambda: make_extractor(""), "''")


def test_patches():
    image = pixels(64, 64)
    features = PatchExtractor()(image)
    assert features.shape == (16, 768) and features.dtype == np.float32
    assert features.min() >= -1 and features.max() <= 1
    for row in range(4):
        for column in range(4):
            cell = image[16 * row:16 * row + 16, 16 * column:16 * column + 16]
            assert np.allclose(features[4 * row + column], cell.ravel() / 127.5 - 1, atol=1e-6)


def test_size_is_height_and_width_and_the_original_width_and_height(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels(20, 30)).save(path)
    image, original = read_image(path)
    assert np.array_equal(image, pixels(20, 30)) and image.dtype == np.uint8 and original == (30, 20)
    image, original = read_image(str(path), (7, 11))
    assert image.shape == (7, 11, 3) and original == (30, 20)
    assert np.array_equal(image, Image.open(path).resize((11, 7), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_modes_become_colour(tmp_path, mode):
    source = Image.fromarray(pixels()).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    source.save(path)
    image, original = read_image(path)
    assert image.shape == (20, 30, 3) and original == (30, 20)
    assert np.array_equal(image, source.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_cut_off(tmp_path, suffix):
    values = np.linspace(0, 65535, 600).reshape(20, 30).astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(values).save(path)
    image, _ = read_image(path)
    assert np.array_equal(image, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_pixels_of_floats_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    refused(lambda: read_image(tmp_path / "a.tif"), tmp_path / "a.tif", "floats")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_by_exif(tmp_path, orientation):
    """The eight orientations, by what EXIF says of the first row and the first column."""
    upright = pixels(8, 12)
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
              6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(upright, -1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    image, original = read_image(tmp_path / "a.png")
    assert np.array_equal(image, upright) and original == (12, 8)


def test_the_first_picture_of_an_animation(tmp_path):
    first, second = (Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.gif")[0].max() == 0


def test_missing_files_and_folders(tmp_path):
    refused(lambda: read_image(tmp_path / "none.jpg"), tmp_path / "none.jpg", "does not exist")
    refused(lambda: read_image(tmp_path), tmp_path, "is a folder")


def encoded(kind):
    file = io.BytesIO()
    Image.fromarray(pixels(80, 80)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("content", [
    b"", b"this is text, renamed\n" * 50, encoded("JPEG")[:900], encoded("PNG")[:900], encoded("JPEG")[:20],
    encoded("GIF")[:50], encoded("TIFF")[:60], encoded("WEBP")[:60], encoded("BMP")[:900],
], ids=["empty", "text", "JPEG", "PNG", "JPEG header", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_files_that_are_no_image_or_cut_off(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    refused(lambda: read_image(path, (64, 64)), f"the image {path} cannot be read")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_an_image_or_one_line(tmp_path, kind):
    content, rng, path = encoded(kind), np.random.default_rng(0), tmp_path / "a.jpg"
    for _ in range(20):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 400), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_image(path, (8, 8))[0].shape == (8, 8, 3)
        except InputError as error:
            assert str(path) in str(error)


def test_a_decompression_bomb(tmp_path, monkeypatch):
    Image.fromarray(pixels(40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)         # Pillow refuses above twice this number
    refused(lambda: read_image(tmp_path / "a.png"), tmp_path / "a.png", "1600 pixels")


def test_the_file_is_closed(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(encoded("PNG")[:900])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        read_image(tmp_path / "a.png")
        refused(lambda: read_image(tmp_path / "b.png"))
