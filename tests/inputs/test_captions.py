"""Captions: the four layouts, subsets, and one clear line for each mistake."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attnretrieval.inputs.captions import LAYOUTS, Captions, load_captions, read_names
from attnretrieval.inputs.files import InputError

FLICKR = "b.jpg#0\tTwo dogs .\nb.jpg#1\tDogs in snow\na.jpg#0\tA cat, asleep\n"
CSV = 'image,caption\nb.jpg,Two dogs .\nb.jpg,Dogs in snow\na.jpg,"A cat, asleep"\n'
KARPATHY = json.dumps({"images": [
    {"filename": "b.jpg", "split": "restval", "sentences": [{"raw": "Two dogs ."}, {"raw": "Dogs in snow"}]},
    {"filename": "a.jpg", "split": "val", "sentences": [{"raw": "A cat, asleep"}]},
]})
COCO = json.dumps({
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
    "annotations": [{"image_id": 3, "caption": "Two dogs ."}, {"image_id": 3, "caption": "Dogs in snow"},
                    {"image_id": 7, "caption": "A cat, asleep"}],
})
SAME = {"flickr8k": FLICKR, "csv": CSV, "karpathy": KARPATHY, "coco": COCO}


def write(tmp_path, content):
    path = tmp_path / "captions.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def fails(tmp_path, content, *parts, layout="auto", split=None):
    path = write(tmp_path, content)
    with pytest.raises(InputError) as error:
        load_captions(path, layout, split)
    message = str(error.value)
    assert "\n" not in message and message.startswith(str(path))
    for part in parts:
        assert part in message


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("named", [True, False])
def test_every_layout_gives_the_same_captions(tmp_path, layout, named):
    captions = load_captions(write(tmp_path, SAME[layout]), layout if named else "auto")
    assert captions.image_names == ["b.jpg", "a.jpg"]
    assert captions.texts == ["Two dogs .", "Dogs in snow", "A cat, asleep"]
    assert captions.image_of.tolist() == [0, 0, 1] and len(captions) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_byte_order_mark_windows_line_ends_and_blank_lines(tmp_path, layout):
    content = SAME[layout] if layout in ("karpathy", "coco") else SAME[layout].replace("\n", "\r\n") + "\r\n\r\n"
    captions = load_captions(write(tmp_path, b"\xef\xbb\xbf" + content.encode()))
    assert captions.texts[-1] == "A cat, asleep" and captions.image_names == ["b.jpg", "a.jpg"]


def test_csv_with_more_columns_and_quoted_lines(tmp_path):
    content = 'id,Caption,Image\n1,"He said ""hi"",\nthen left",x.jpg\n'
    assert load_captions(write(tmp_path, content)).texts == ['He said "hi",\nthen left']


def test_unicode_line_separators_and_odd_names_belong_to_the_line(tmp_path):
    captions = load_captions(write(tmp_path, "a#b.jpg.1#0\t狗\u2028在 雪地\x0c里\n"))
    assert captions.texts == ["狗\u2028在 雪地\x0c里"] and captions.image_names == ["a#b.jpg.1"]


def test_duplicate_captions_stay(tmp_path):
    assert len(load_captions(write(tmp_path, "a.jpg#0\tdog\na.jpg#1\tdog\nb.jpg#0\tdog\n"))) == 3


def test_karpathy_splits(tmp_path):
    path = write(tmp_path, KARPATHY)
    assert load_captions(path, split="train").image_names == ["b.jpg"]
    assert load_captions(path, split="val").image_names == ["a.jpg"]
    fails(tmp_path, KARPATHY, "no split 'test'", "train, val", split="test")
    fails(tmp_path, FLICKR, "split 'val'", "flickr8k", split="val")


def test_subset_and_positives(tmp_path):
    captions = load_captions(write(tmp_path, "a#0\ta0\nb#0\tb0\na#1\ta1\nc#0\tc0\nb#1\tb1\n"))
    part = captions.subset(["c", "a"])
    assert part.image_names == ["c", "a"] and part.texts == ["c0", "a0", "a1"]
    assert part.positives().tolist() == [[True, False], [False, True], [False, True]]
    naive = np.array([[captions.image_names[j] == captions.texts[i][0] for j in range(3)] for i in range(5)])
    assert np.array_equal(captions.positives(), naive)
    with pytest.raises(InputError, match="2 of 3 images have no captions, the first is x"):
        captions.subset(["a", "x", "y"])
    with pytest.raises(InputError, match="b is asked for twice"):
        captions.subset(["a", "b", "b"])
    assert len(captions.subset([])) == 0
    assert isinstance(part, Captions)


@pytest.mark.parametrize(("content", "parts"), [
    ("", ["is empty"]),
    ("a dog\n", [":1:", "no known layout"]),
    ("a.jpg#0\tdog\n\nb.jpg#0 cat\n", [":3:", "expected NAME.jpg#k<TAB>caption"]),
    ("a.jpg#0\tdog\nb.jpg#x\tcat\n", [":2:"]),
    ("a.jpg#0\tdog\n#0\tcat\n", [":2:"]),
    ("a.jpg#0\tdog\nb.jpg#0\t \n", [":2:", "caption of b.jpg is empty"]),
    ("image,caption\n", ["no captions"]),
    ("image,caption\na.jpg,one, two\n", [":2:", "3 cells"]),
    ('image,caption\na.jpg,"one\n', ["not valid CSV"]),
    ("image,caption\na.jpg,\n", [":2:", "empty"]),
    ("image,caption\n,dog\n", [":2:", "image name is empty"]),
    (b"a.jpg#0\tdog\na.jpg#1\tcaf\xe9\n", [":2:", "0xe9", "UTF-8"]),
    ('{"images":\n [}', [":2:", "not valid JSON"]),
    ("[1]", ["neither"]),
    ("[" * 100_000, ["nested"]),
    ('{"images": [{"sentences": []}]}', ["images[0]", "'filename'"]),
    ('{"images": [{"filename": "a", "sentences": []}]}', ["images[0]", "no captions"]),
    ('{"images": [{"filename": "a", "sentences": [{"raw": 3}]}]}', ["sentences[0]", "int, expected str"]),
    ('{"images": [{"filename": "a", "sentences": [{"raw": "\\ud83d"}]}]}', ["sentences[0]", "surrogate"]),
    ('{"images": [], "annotations": []}', ["no captions"]),
    ('{"images": [], "annotations": [{"image_id": 3, "caption": "x"}]}', ["annotations[0]", "image 3"]),
    ('{"images": [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "b"}], '
     '"annotations": [{"image_id": 1, "caption": "x"}]}', ["1 images have no captions", "b"]),
])
def test_mistakes_are_one_line(tmp_path, content, parts):
    fails(tmp_path, content, *parts)


def test_mistakes_of_the_call(tmp_path):
    with pytest.raises(InputError, match="captions file .*nowhere does not exist"):
        load_captions(tmp_path / "nowhere")
    with pytest.raises(InputError, match="layout 'xml' is not one of auto, flickr8k"):
        load_captions(write(tmp_path, FLICKR), layout="xml")
    fails(tmp_path, FLICKR, "header", layout="csv")


def test_read_names(tmp_path):
    assert read_names(write(tmp_path, b"\xef\xbb\xbfb.jpg\r\n\r\n a.jpg \n")) == ["b.jpg", "a.jpg"]
    with pytest.raises(InputError, match=r":3: a.jpg stands on line 1 already"):
        read_names(write(tmp_path, "a.jpg\nb.jpg\na.jpg\n"))
    with pytest.raises(InputError, match="no image names"):
        read_names(write(tmp_path, "\n\n"))
