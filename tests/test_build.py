"""From a recipe and training data to a retriever: only the training split goes into it, and the seed decides the rest."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.build import build_retriever, make_validate, training_data
from attnretrieval.inputs.captions import Captions
from attnretrieval.inputs.dataset import Dataset
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.regions import RegionProjection, grid_boxes
from attnretrieval.recipe import Recipe, parse_recipe
from attnretrieval.retrieval.search import evaluate
from attnretrieval.shapes import ShapeError

TRAIN = ["a black dog runs", "the dog sleeps", "two cats", "a cat in the snow", "一只猫", "red balls"]
VAL = ["a horse runs", "the dog and the horse", "zebra"]
M, D_V = 6, 10


def make_recipe(text=(), image=(), model=(), training=()) -> Recipe:
    return parse_recipe({
        "text": {"tokeniser": "characters", "d_vectors": 5, **dict(text)}, "image": dict(image),
        "model": {"d": 8, "heads": 2, **dict(model)}, "training": dict(training)})


def make_dataset(texts=TRAIN, images: int = 3, seed: int = 0, d_v: int = D_V, m: int = M) -> Dataset:
    rng = np.random.default_rng(seed)
    captions = Captions([f"{i}.jpg" for i in range(images)], list(texts), np.arange(len(texts)) % images)
    regions = (rng.normal(size=(images, m, d_v)) * np.arange(1, d_v + 1) + 3 + seed).astype(np.float16)
    return Dataset(captions, regions, "patches", (2, m // 2), grid_boxes(2, m // 2))


def test_the_vocabulary_is_that_of_the_training_captions():
    retriever = build_retriever(make_recipe(), make_dataset())
    words = {word for text in TRAIN for word in text.split()} - {"一只猫"} | set("一只猫")
    assert set(retriever.vocabulary.tokens) == words | {"<unk>"}
    ids, _ = retriever.vocabulary.encode(VAL, strict=False)
    assert ids[0].tolist() == [retriever.vocabulary.tokens.index("a"), 0, retriever.vocabulary.tokens.index("runs"), 0, 0]
    rare = build_retriever(make_recipe({"min_count": 2}), make_dataset())
    assert set(rare.vocabulary.tokens) == {"<unk>", "a", "the", "dog"}


def test_the_projection_is_fitted_on_the_training_images():
    train, val = make_dataset(), make_dataset(VAL, seed=9)
    retriever = build_retriever(make_recipe(image={"pca": 4}), train)
    expected = RegionProjection.fit(train.regions, 4)
    np.testing.assert_array_equal(retriever.projection.mean, expected.mean)
    np.testing.assert_array_equal(retriever.projection.components, expected.components)
    make_validate(retriever, val)(retriever.model, "index")
    np.testing.assert_array_equal(retriever.project(val.regions), expected.apply(val.regions.astype(np.float32)))
    np.testing.assert_array_equal(retriever.projection.mean, expected.mean)
    assert retriever.model.config.image.d_in == 4 and retriever.d_v == D_V
    assert build_retriever(make_recipe(), train).projection is None
    with pytest.raises(ShapeError, match=f"pca=11 is not between 1 and the {D_V} features"):
        build_retriever(make_recipe(image={"pca": 11}), train)


def test_a_seed_gives_one_retriever():
    one, same, other = (build_retriever(make_recipe(training={"seed": seed}), make_dataset()) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.model.parameters.flat, same.model.parameters.flat)
    assert (one.model.parameters["text.attention.W_Q"] != other.model.parameters["text.attention.W_Q"]).all()
    assert (one.model.parameters["words.E"] != other.model.parameters["words.E"]).all()


@pytest.mark.parametrize("trained", [True, False])
def test_vectors_of_a_file(tmp_path, trained):
    path = tmp_path / "vectors.txt"
    path.write_text("dog 1 2 3\ncat 4 5 6\nzebra 7 8 9\n")
    retriever = build_retriever(make_recipe({"vectors": "file", "trained": trained}), make_dataset(), path)
    model, tokens = retriever.model, retriever.vocabulary.tokens
    table = model.parameters["words.E"] if trained else model.table
    assert table.shape == (len(tokens), 3) and table.dtype == np.float32 and ("words.E" in model.parameters) == trained
    assert table[tokens.index("dog")].tolist() == [1, 2, 3] and table[tokens.index("cat")].tolist() == [4, 5, 6]
    assert "zebra" not in tokens and retriever.facts["vectors_found"] == 2


@pytest.mark.parametrize(("vectors", "path"), [("file", None), ("random", "vectors.txt")])
def test_a_file_of_vectors_and_the_recipe_must_agree(vectors, path):
    with pytest.raises(InputError) as error:
        build_retriever(make_recipe({"vectors": vectors}), make_dataset(), path)
    assert str(error.value) == 'a file of word vectors (--vectors) is given exactly when the recipe says vectors = "file"'


def test_what_a_retriever_knows_of_its_data():
    recipe = make_recipe({"max_words": 3}, {"pca": 4}, {"fusion": "gate"}, {"seed": 7})
    retriever = build_retriever(recipe, make_dataset())
    assert (retriever.extractor, retriever.grid, retriever.d_v, retriever.max_words) == ("patches", (2, 3), D_V, 3)
    assert retriever.facts == {"recipe": recipe.to_json(), "images": 3, "captions": 6, "vectors_found": 0}
    config = retriever.model.config
    assert (config.words, config.text.d_in, config.fusion) == (len(retriever.vocabulary), 5, "gate")


def test_places_bound_the_words_and_must_fit_the_regions():
    sides = {"project": True, "positions": 2}
    retriever = build_retriever(make_recipe(sides), make_dataset())
    assert retriever.max_words == 2
    long, short = (retriever.encode_captions([text]) for text in ("a black dog runs", "a black"))
    np.testing.assert_array_equal(long.g, short.g)
    with pytest.raises(InputError, match="positions=2 for images, but they have 6 regions; set it to 6"):
        build_retriever(make_recipe(image=sides), make_dataset())


def test_training_data(monkeypatch):
    monkeypatch.setattr("attnretrieval.build.BLOCK", 2)
    data = make_dataset(images=5, texts=[*TRAIN, "dog " * 9])
    retriever = build_retriever(make_recipe({"max_words": 7}, {"pca": 4}), data)
    arrays = training_data(retriever, data)
    assert arrays.regions.shape == (5, M, 4) and arrays.regions.dtype == np.float16
    np.testing.assert_array_equal(arrays.regions, retriever.project(data.regions).astype(np.float16))
    assert arrays.ids.shape == arrays.word_mask.shape == (7, 7)
    assert arrays.word_mask.sum(axis=1).tolist() == [4, 3, 2, 5, 3, 2, 7]
    np.testing.assert_array_equal(arrays.image_of, data.captions.image_of)


@pytest.mark.parametrize("mode", ["index", "rerank"])
def test_validation_is_evaluation(mode):
    retriever, val = build_retriever(make_recipe(), make_dataset()), make_dataset(VAL, seed=9)
    row = make_validate(retriever, val, rerank_k=2)(retriever.model, mode)
    report = evaluate(retriever.model, retriever.encode_captions(VAL), retriever.encode_regions(val.regions),
                      val.captions.image_of, mode, 2)
    assert row == {"mode": mode, "i2t_r1": report.i2t.r1, "i2t_r5": report.i2t.r5, "i2t_r10": report.i2t.r10,
                   "t2i_r1": report.t2i.r1, "t2i_r5": report.t2i.r5, "t2i_r10": report.t2i.r10, "rsum": report.rsum}
