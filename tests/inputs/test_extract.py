"""From a folder of images to a store: the same features whatever happens on the way, or one clear line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from attnretrieval.inputs import extract
from attnretrieval.inputs.extract import extract_folder, image_names
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.regions import grid_boxes, open_regions
from attnretrieval.threads import VARIABLES
from tests.messages import refused

ROTATED = 6             # EXIF: to be turned by a quarter clockwise
SIZES = {"a.png": (64, 64), "b.JPG": (101, 67), "c.png": (1, 300), "d.png": (33, 20), "e.jpg": (40, 90)}


def make_image(path, width, height, seed, mode="RGB", **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(-1) if mode == "L" else pixels).save(path, **options)


@pytest.fixture
def photos(tmp_path):
    """Five images: exact size, odd size, one pixel wide and grey, with alpha, turned by EXIF; and files that are none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    make_image(folder / "a.png", 64, 64, 1)
    make_image(folder / "b.JPG", 101, 67, 2)
    make_image(folder / "c.png", 1, 300, 3, "L")
    make_image(folder / "d.png", 33, 20, 4, "RGBA")
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    make_image(folder / "e.jpg", 90, 40, 5, exif=exif)
    (folder / "notes.txt").write_text("not an image")
    (folder / "._a.png").write_text("what macOS leaves behind")
    (folder / "folder.png").mkdir()
    return folder


def many(folder, count=20):
    folder.mkdir()
    for i in range(count):
        make_image(folder / f"{i:02}.png", 30 + i, 50 - i, i)
    return folder


def run(photos, out, **options):
    return extract_folder(photos, out, **{"extractor": "patches", "processes": 1, "show": False, **options})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def counted(monkeypatch, stop_after=None):
    """Notes which images are read; stops as Ctrl-C does after so many."""
    read, seen = extract.read_image, []

    def read_image(path, size):
        if len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(os.path.basename(path))
        return read(path, size)
    monkeypatch.setattr(extract, "read_image", read_image)
    return seen


def test_features_sizes_and_boxes(photos, tmp_path):
    store = run(photos, tmp_path / "f")
    assert store.names == list(SIZES) and store.extractor == "patches" and store.grid == (4, 4)
    assert store.sizes.tolist() == [list(size) for size in SIZES.values()]
    assert store.regions.shape == (5, 16, 768) and store.regions.dtype == np.float16
    assert np.array_equal(store.boxes, grid_boxes(4, 4))
    assert sorted(contents(tmp_path / "f")) == ["features.npy", "manifest.json"]
    assert sorted(os.listdir(tmp_path)) == ["f", "photos"]
    pixels = np.asarray(Image.open(photos / "a.png"), np.float32)                # 64×64 already: cut by hand
    for row in range(4):
        for column in range(4):
            cell = pixels[row * 16:row * 16 + 16, column * 16:column * 16 + 16]
            assert np.array_equal(store.regions[0, row * 4 + column], (cell.ravel() / 127.5 - 1).astype(np.float16))
    turned = Image.open(photos / "e.jpg").transpose(Image.Transpose.ROTATE_270).resize((64, 64), Image.Resampling.BILINEAR)
    expected = PatchExtractor()(np.asarray(turned)).astype(np.float16)
    assert np.array_equal(store.regions[4], expected)


def test_processes_give_the_same_bits(tmp_path):
    photos = many(tmp_path / "photos")
    run(photos, tmp_path / "one")
    before = {name: os.environ.get(name) for name in VARIABLES}
    run(photos, tmp_path / "two", processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert before == {name: os.environ.get(name) for name in VARIABLES}


def test_interrupted_and_resumed(tmp_path, monkeypatch):
    photos = many(tmp_path / "photos", 9)
    run(photos, tmp_path / "whole")
    with monkeypatch.context() as patch:
        counted(patch, stop_after=4)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "f")
    assert not (tmp_path / "f").exists() and (tmp_path / "f.partial").is_dir()
    seen = counted(monkeypatch)
    run(photos, tmp_path / "f")
    assert seen == [f"{i:02}.png" for i in range(4, 9)]
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")
    assert not (tmp_path / "f.partial").exists()


@pytest.mark.parametrize("moment", ["write_manifest", "replace"])
def test_interrupted_at_the_very_end(photos, tmp_path, monkeypatch, moment):
    run(photos, tmp_path / "whole")

    def stop(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch:
        if moment == "replace":
            replace = os.replace
            patch.setattr(os, "replace", lambda a, b: stop() if b == tmp_path / "f" else replace(a, b))
        else:
            patch.setattr(extract, moment, stop)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "f")
    seen = counted(monkeypatch)
    run(photos, tmp_path / "f")
    assert seen == [] and contents(tmp_path / "f") == contents(tmp_path / "whole")


KILLED = """
import os, sys, time
from attnretrieval.inputs import extract
read, seen = extract.read_image, []
def read_image(path, size):
    if len(seen) == 5:
        print("five are read", flush=True)
        time.sleep(60)
    seen.append(path)
    return read(path, size)
extract.read_image = read_image
extract.extract_folder(sys.argv[1], sys.argv[2], "patches", processes=1, show=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_and_resumed(tmp_path, monkeypatch):
    photos = many(tmp_path / "photos", 9)
    process = subprocess.Popen([sys.executable, "-c", KILLED, photos, tmp_path / "f"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"five are read\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "f").exists()
    seen = counted(monkeypatch)
    run(photos, tmp_path / "f")
    assert seen == [f"{i:02}.png" for i in range(5, 9)]
    run(photos, tmp_path / "whole")
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_image(tmp_path, monkeypatch, processes):
    photos = many(tmp_path / "photos", 25)
    (photos / "18.png").write_bytes((photos / "18.png").read_bytes()[:200])
    refused(lambda: run(photos, tmp_path / "f", processes=processes), photos / "18.png", "cannot be read", "is kept")
    assert not (tmp_path / "f").exists()
    (photos / "18.png").unlink()                        # the user takes it out
    seen = counted(monkeypatch)
    run(photos, tmp_path / "f")
    after = [f"{i:02}.png" for i in range(19, 25)]      # some of these a second process had in hand
    assert seen == after if processes == 1 else seen[0] == "19.png" and set(seen) <= set(after)
    run(photos, tmp_path / "whole")
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")


def test_images_added_and_taken_out_while_stopped(tmp_path, monkeypatch):
    photos = many(tmp_path / "photos", 8)
    with monkeypatch.context() as patch:
        counted(patch, stop_after=5)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "f")
    (photos / "01.png").unlink()
    make_image(photos / "00a.png", 20, 20, 99)
    seen = counted(monkeypatch)
    run(photos, tmp_path / "f")
    assert seen == ["00a.png", "05.png", "06.png", "07.png"]
    run(photos, tmp_path / "whole")
    assert contents(tmp_path / "f") == contents(tmp_path / "whole")


def test_a_second_call_does_nothing(photos, tmp_path, monkeypatch):
    run(photos, tmp_path / "f")
    before = contents(tmp_path / "f")
    monkeypatch.setattr(extract, "make_extractor", None)
    assert run(photos, tmp_path / "f").names == list(SIZES) and contents(tmp_path / "f") == before


def test_names_choose_and_order(photos, tmp_path):
    store = run(photos, tmp_path / "f", names=["d.png", "a.png"])
    whole = run(photos, tmp_path / "whole")
    assert store.names == ["d.png", "a.png"] and np.array_equal(store.regions, whole.regions[[3, 0]])
    refused(lambda: run(photos, tmp_path / "g", names=["d.png", "x.png", "y.png"]), "2 of 3", photos, "x.png")
    assert not list(tmp_path.glob("g*"))


def test_another_job_in_the_same_folder(photos, tmp_path, monkeypatch):
    run(photos, tmp_path / "f")
    before = contents(tmp_path / "f")
    refused(lambda: run(photos, tmp_path / "f", names=["a.png"]), tmp_path / "f", "other images", "choose another folder")
    refused(lambda: run(photos, tmp_path / "f", extractor="efficientnet-lite0"), "'patches'", "choose another folder")
    refused(lambda: run(photos, photos), photos, "holds files, and no features")
    assert contents(tmp_path / "f") == before

    with monkeypatch.context() as patch:
        counted(patch, stop_after=2)
        with pytest.raises(KeyboardInterrupt):
            run(photos, tmp_path / "g")
    job = tmp_path / "g.partial" / "job.json"
    content = job.read_text()
    for entry in ({"extractor": "other"}, {"d_v": 9}, {"names": ["a.png"]}, {"names": 3}):
        job.write_text(json.dumps(json.loads(content) | entry))
        refused(lambda: run(photos, tmp_path / "g"), tmp_path / "g.partial", "choose another folder")
    for broken in ("", "[]", "{}"):
        job.write_text(broken)
        refused(lambda: run(photos, tmp_path / "g"), tmp_path / "g.partial", "holds no stopped run")
    job.write_text(content)
    run(photos, tmp_path / "g")
    assert contents(tmp_path / "g") == before


def test_a_folder_of_the_user_is_left_alone(photos, tmp_path):
    (tmp_path / "f.partial").mkdir()
    (tmp_path / "f.partial" / "thesis.txt").write_text("mine")
    refused(lambda: run(photos, tmp_path / "f"), tmp_path / "f.partial", "in the way")
    (tmp_path / "g").write_text("mine")
    refused(lambda: run(photos, tmp_path / "g"), tmp_path / "g", "is a file")
    assert (tmp_path / "f.partial" / "thesis.txt").read_text() == "mine" and (tmp_path / "g").read_text() == "mine"


def test_where_nothing_can_be_written(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    refused(lambda: run(photos, tmp_path / "file" / "f"), tmp_path / "file" / "f.partial", "cannot be written")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr("tempfile.mkdtemp", forbidden)
    refused(lambda: run(photos, tmp_path / "f"), tmp_path / "f.partial", "cannot be written", "Permission denied")


def test_an_empty_folder_is_filled(photos, tmp_path):
    (tmp_path / "f").mkdir()
    assert run(photos, tmp_path / "f").names == list(SIZES)


def test_folders_without_images(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    refused(lambda: run(tmp_path / "none", tmp_path / "f"), tmp_path / "none", "does not exist")
    refused(lambda: run(tmp_path / "file", tmp_path / "f"), "is a file, expected a folder")
    refused(lambda: run(tmp_path / "empty", tmp_path / "f"), "holds no image", ".jpg")
    refused(lambda: run(tmp_path / "empty", tmp_path / "f", names=["a.png"]), "1 of 1 images", "a.png")
    refused(lambda: run(tmp_path / "empty", tmp_path / "f", processes=0), "processes=0")
    assert not list(tmp_path.glob("f.*"))


def test_a_full_disk_is_seen_before(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(extract.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    refused(lambda: run(photos, tmp_path / "f"), "5 images need", "are free in", tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["photos"]


@pytest.mark.parametrize("value", [np.nan, 1e6])
def test_values_that_float16_does_not_hold(photos, tmp_path, monkeypatch, value):
    class Loud(PatchExtractor):
        def __call__(self, image):
            return np.full((16, 768), value, np.float32)
    monkeypatch.setattr(extract, "make_extractor", lambda name: Loud())
    refused(lambda: run(photos, tmp_path / "f"), "patches", photos / "a.png", "float16")


def test_names_that_are_no_unicode(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        make_image(folder / name, 8, 8, 1)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    make_image(folder / "猫.png", 8, 8, 2)
    assert run(folder, tmp_path / "f").names == image_names(folder) == open_regions(tmp_path / "f").names == [name, "猫.png"]


PROGRAM = """
import os, sys, time
from attnretrieval.inputs import extract
def work(i):
    print(os.getpid(), flush=True)
    {deed}
if __name__ == "__main__":
    extract._extract = work
    extract.extract_folder(sys.argv[1], sys.argv[2], "patches", processes=2, show=False)
"""


def start(tmp_path, deed):
    """A program whose processes do this with each image."""
    photos = many(tmp_path / "photos", 20)
    (tmp_path / "program.py").write_text(PROGRAM.format(deed=deed))
    return subprocess.Popen([sys.executable, tmp_path / "program.py", photos, tmp_path / "f"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def test_a_process_that_is_lost(tmp_path):
    _, message = start(tmp_path, "os._exit(9)").communicate(timeout=30)
    assert b"RuntimeError: one of the processes was ended from outside" in message
    assert (tmp_path / "f.partial").is_dir() and not (tmp_path / "f").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for the processes in /proc")
def test_the_processes_end_with_a_killed_parent(tmp_path):
    process = start(tmp_path, "time.sleep(60)")
    workers = {int(process.stdout.readline()) for _ in range(2)}
    process.kill()
    process.stdout.close()
    process.stderr.close()
    process.wait()
    end = time.monotonic() + 10
    while any(_state(worker) != "Z" for worker in workers):
        assert time.monotonic() < end, "they outlive their parent"
        time.sleep(0.05)


def _state(pid):
    """"Z" for one that has ended, whether or not anyone has asked how."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
