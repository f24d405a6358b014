"""A gallery comes back as it was written, is whole or absent, and says in one line what is wrong with it."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from attnretrieval.inputs.files import InputError
from attnretrieval.model import Encoded
from attnretrieval.retrieval.gallery import fingerprint, open_gallery, write_gallery
from attnretrieval.retrieval.search import MODES, evaluate, search_images
from tests.retrieval.stand_in import StandIn, encoded

NAMES = [f"图 {i}.jpg" for i in range(7)]
CAPTIONS = [f"caption {i} 狗" for i in range(12)]


@pytest.fixture
def model_file(tmp_path):
    np.savez(tmp_path / "model.npz", W=np.arange(3))
    return tmp_path / "model.npz"


@pytest.fixture
def sides():
    rng = np.random.default_rng(0)
    return encoded(rng, 7, 6), encoded(rng, 12, 5)


def write(path, model_file, sides, **changes):
    images, texts = sides
    wanted = dict(images=images, image_names=NAMES, texts=texts, captions=CAPTIONS, image_of=np.arange(12) % 7)
    write_gallery(path, model_file, **(wanted | changes))
    return path


def blocks(items, size):
    for start in range(0, len(items.g), size):
        yield items.take(slice(start, start + size))


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


def test_it_comes_back_as_it_was_written(tmp_path, model_file, sides):
    gallery = open_gallery(write(tmp_path / "g", model_file, sides))
    same(gallery.images, sides[0])
    same(gallery.texts, sides[1])
    assert gallery.image_names == NAMES and gallery.captions == CAPTIONS and gallery.d == 4
    assert gallery.image_of.tolist() == [i % 7 for i in range(12)]
    assert gallery.fingerprint == fingerprint(model_file) == fingerprint(gallery.model_file)
    assert isinstance(gallery.images.H, np.memmap) and not gallery.images.H.flags.writeable


def test_images_only_texts_only_and_without_tokens(tmp_path, model_file, sides):
    gallery = open_gallery(write(tmp_path / "i", model_file, sides, texts=None, captions=(), image_of=None))
    assert gallery.texts is None and gallery.captions == [] and gallery.image_of is None
    gallery = open_gallery(write(tmp_path / "t", model_file, sides, images=None, image_names=(), image_of=None))
    assert gallery.images is None and gallery.captions == CAPTIONS
    gallery = open_gallery(write(tmp_path / "g", model_file, sides, store_tokens=False))
    assert gallery.images.H is None
    same(gallery.images.g, sides[0].g)
    assert search_images(gallery, StandIn(), sides[1], k=2).ids.shape == (12, 2)


def test_writing_in_blocks_gives_the_same_files(tmp_path, model_file, sides):
    write(tmp_path / "a", model_file, sides)
    write(tmp_path / "b", model_file, sides, images=blocks(sides[0], 3), texts=blocks(sides[1], 5))
    for file in (tmp_path / "a").rglob("*.npy"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("mode", MODES)
def test_search_and_evaluation_from_disk_equal_those_in_memory(tmp_path, model_file, sides, mode):
    images, texts = sides
    gallery = open_gallery(write(tmp_path / "g", model_file, sides, token_dtype="float16"))    # exact for these numbers
    report = evaluate(StandIn(), texts, images, gallery.image_of, mode, 3)
    assert evaluate(StandIn(), gallery.texts, gallery.images, gallery.image_of, mode, 3) == report
    from_disk = search_images(gallery, StandIn(), texts, mode, 5, 3)
    assert from_disk.scores.dtype == np.float32


def test_an_error_midway_leaves_the_old_gallery(tmp_path, model_file, sides):
    path = write(tmp_path / "g", model_file, sides)

    def breaks():
        yield from blocks(sides[0].take(slice(0, 4)), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, model_file, sides, images=breaks())
    same(open_gallery(path).images, sides[0])
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "new", model_file, sides, images=breaks())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g", "model.npz"]


def test_a_new_gallery_replaces_the_old_one_and_may_reuse_its_model(tmp_path, model_file, sides):
    path = write(tmp_path / "g", model_file, sides)
    write(path, path / "model.npz", sides, texts=None, captions=(), image_of=None)
    gallery = open_gallery(path)
    assert gallery.texts is None and gallery.fingerprint == fingerprint(model_file)
    assert not (path / "texts").exists()


def test_a_folder_that_is_no_gallery_is_never_replaced(tmp_path, model_file, sides):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match="other things in it"):
        write(tmp_path / "photos", model_file, sides)
    with pytest.raises(InputError, match="is a file"):
        write(model_file, model_file, sides)
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["images/g.npy", "images/tokens.npy", "texts/mask.npy", "texts/captions.json", "model.npz"])
def test_a_truncated_or_missing_file_is_one_clear_line(tmp_path, model_file, sides, name):
    path = write(tmp_path / "g", model_file, sides)
    whole = (path / name).read_bytes()
    (path / name).write_bytes(whole[:-5])
    with pytest.raises(InputError, match=f"{name} has {len(whole) - 5} bytes instead of {len(whole)}") as error:
        open_gallery(path)
    assert "\n" not in str(error.value)
    (path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        open_gallery(path)


def test_what_is_no_gallery_is_refused(tmp_path, model_file, sides):
    with pytest.raises(InputError, match="does not exist"):
        open_gallery(tmp_path / "nothing")
    with pytest.raises(InputError, match="no manifest.json"):
        open_gallery(tmp_path)
    path = write(tmp_path / "g", model_file, sides)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    for change, message in (
        ({"format": "other"}, "does not say attnretrieval-gallery"),
        ({"version": 99}, "version 99, this program reads version 1"),
        ({"d": 5}, "images/g.npy has shape"),
        ({"images": 6}, "holds 7 entries, expected 6"),
    ):
        (path / "manifest.json").write_text(json.dumps(manifest | change), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            open_gallery(path)
    del manifest["model"]
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="lacks .'model'"):
        open_gallery(path)
    (path / "manifest.json").write_text('{"format": ', encoding="utf-8")
    with pytest.raises(InputError, match="manifest.json cannot be read"):
        open_gallery(path)


def test_numbers_that_are_none_are_refused_by_item(tmp_path, model_file, sides):
    images, texts = sides
    g = images.g.copy()
    g[5, 1] = np.nan
    with pytest.raises(InputError, match="g of images number 5 has NaN"):
        write(tmp_path / "g", model_file, sides, images=blocks(images._replace(g=g), 3))
    H = texts.H.copy()
    H[2] = 1e6
    with pytest.raises(InputError, match="tokens of texts number 2 .*float16"):
        write(tmp_path / "g", model_file, sides, texts=texts._replace(H=H), token_dtype="float16")
    assert not (tmp_path / "g").exists()


def test_mistakes_are_named(tmp_path, model_file, sides):
    images, texts = sides
    for changes, message in (
        (dict(image_names=NAMES[:6], image_of=None), "more images than the 6 names"),
        (dict(image_names=[*NAMES, "8"]), "7 images came for 8 names"),
        (dict(image_names=NAMES[:6] + NAMES[:1]), "1 image names come more than once"),
        (dict(image_names=(), image_of=None), "images were given without a name"),
        (dict(image_of=np.full(12, 7)), "image_of holds 7 to 7, but 7 image names"),
        (dict(image_of=[0]), "an integer for each of the 12 captions"),
        (dict(texts=texts._replace(g=texts.g[:, :2])), "texts have d=2, expected 4"),
        (dict(images=iter([images.take(slice(0, 3)), encoded(np.random.default_rng(0), 4, 2)])), "pad all to one length"),
        (dict(images=None, texts=None), "nothing to store"),
    ):
        with pytest.raises(InputError, match=message):
            write(tmp_path / "g", model_file, sides, **changes)
    with pytest.raises(InputError, match="the model file"):
        write(tmp_path / "g", tmp_path / "none.npz", sides)
    assert not (tmp_path / "g").exists()


def test_opening_reads_no_array(tmp_path, model_file):
    rng = np.random.default_rng(0)
    images = Encoded(np.ones((2000, 49, 64), np.float32), np.ones((2000, 49), bool), rng.random((2000, 64), np.float32))
    write_gallery(tmp_path / "g", model_file, images, [str(i) for i in range(2000)])
    start = time.perf_counter()
    open_gallery(tmp_path / "g")
    assert time.perf_counter() - start < 0.1
