"""Search with the real model: its rounding is all that may differ between ways of batching, memory and disk."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.config import ModelConfig, Side
from attnretrieval.model import Model
from attnretrieval.retrieval import search
from attnretrieval.retrieval.gallery import open_gallery, write_gallery
from attnretrieval.retrieval.search import MODES, evaluate, search_images, search_texts

SCORES = {
    "fused": dict(),
    "token_cosine": dict(paired_score="token_cosine", cross_logits="cosine", alone_weight=0.5),
}


@pytest.fixture(params=SCORES)
def parts(request):
    rng = np.random.default_rng(0)
    config = ModelConfig(text=Side(d_in=8), image=Side(d_in=10), words=40, d=16, heads=2, **SCORES[request.param])
    model = Model.create(config, rng)
    mask = np.arange(9) < rng.integers(1, 10, 30)[:, None]
    texts = model.encode_text(rng.integers(0, 40, (30, 9)), mask)
    return model, texts, model.encode_image(rng.normal(size=(12, 6, 10)).astype(np.float32))


def test_paired_scores_are_those_of_the_plain_equations(parts):
    model, texts, images = parts
    S = search._score_matrix(model, texts, images, "cpu")
    for t, v in ((0, 0), (7, 3), (29, 11)):
        plain = model.attention(texts.take(slice(t, t + 1)), images.take(slice(v, v + 1))).score
        assert S[t, v] == pytest.approx(plain, abs=1e-5)


def test_rerank_of_everything_is_exhaustive_pair_by_pair(parts):
    model, texts, images = parts
    gallery_of = np.arange(12)
    S = search._score_matrix(model, texts, images, "cpu")
    pairs = search._score_candidates(model, texts, images, np.arange(30), np.tile(gallery_of, (30, 1)), "t2i")
    np.testing.assert_allclose(pairs, S, atol=1e-5)
    pairs = search._score_candidates(model, images, texts, gallery_of, np.tile(np.arange(30), (12, 1)), "i2t")
    np.testing.assert_allclose(pairs, S.T, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_gallery_on_disk_answers_as_one_in_memory(parts, tmp_path, mode):
    model, texts, images = parts
    (tmp_path / "model.npz").write_bytes(b"stands for the model")
    image_of = np.arange(30) % 12
    write_gallery(
        tmp_path / "g", tmp_path / "model.npz", images, [f"{i}.jpg" for i in range(12)], texts, ["a"] * 30, image_of
    )
    gallery = open_gallery(tmp_path / "g")
    report = evaluate(model, texts, images, image_of, mode, 5)
    assert evaluate(model, gallery.texts, gallery.images, gallery.image_of, mode, 5) == report
    hits = search_images(gallery, model, texts, mode, 12, 5)
    found = [row.tolist().index(image) for row, image in zip(hits.ids, image_of, strict=True)]
    assert report.t2i.meanr == pytest.approx(np.mean(found) + 1)
    hits = search_texts(gallery, model, images, mode, 30, 5)
    found = [min(row.tolist().index(c) for c in np.flatnonzero(image_of == i)) for i, row in enumerate(hits.ids)]
    assert report.i2t.meanr == pytest.approx(np.mean(found) + 1)
