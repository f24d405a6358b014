"""The recalls against the formulas of VSE++ written out naively, ties, uneven maps, blocks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attnretrieval.retrieval import metrics
from attnretrieval.retrieval.metrics import ranks, recalls
from attnretrieval.shapes import ShapeError


def place(scores, answer):
    """How many stand before `answer` when the best stand first and equals go by id."""
    order = sorted(range(len(scores)), key=lambda j: (-scores[j], j))
    return order.index(answer)


def naive(S, image_of):
    """i2t and t2i as in VSE++'s evaluation.py, for any map."""
    out = []
    i2t = []
    for image in range(S.shape[1]):
        own = [c for c in range(S.shape[0]) if image_of[c] == image]
        if own:
            i2t.append(min(place(S[:, image], c) for c in own))
    t2i = [place(S[c], image_of[c]) for c in range(S.shape[0])]
    for r in (np.array(i2t), np.array(t2i)):
        out.append([100.0 * len(np.where(r < k)[0]) / len(r) for k in (1, 5, 10)]
                   + [np.floor(np.median(r)) + 1, r.mean() + 1])
    return out


def uneven(rng, captions, images):
    image_of = rng.integers(0, images, captions)
    image_of[:3] = [0, 0, images - 1]
    return image_of


@pytest.mark.parametrize("grain", [None, 4])
def test_recalls_match_the_formulas_of_the_field(grain):
    rng = np.random.default_rng(0)
    for _ in range(10):
        S = rng.normal(size=(60, 17)).astype(np.float32)
        image_of = uneven(rng, 60, 17)
        if grain:
            S = np.round(S * grain) / grain     # many ties
        got = recalls(S, image_of)
        i2t, t2i = naive(S, image_of)
        np.testing.assert_allclose(got.i2t[:5], i2t)
        np.testing.assert_allclose(got.t2i[:5], t2i)
        assert got.rsum == pytest.approx(sum(i2t[:3]) + sum(t2i[:3]))


def test_five_captions_an_image_by_hand():
    image_of = np.repeat([0, 1], 2)
    S = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6], [0.0, 0.3]])
    got = recalls(S, image_of)
    # t2i ranks 0 1 1 0; image 0: captions by score 0 2 1 3, its first own at 0; image 1: 1 2 3 0, its first own at 1
    assert got.t2i.r1 == 50 and got.t2i.medr == 1 and got.t2i.meanr == 1.5
    assert got.i2t.r1 == 50 and got.i2t.r5 == 100 and got.i2t.meanr == 1.5
    assert got.rsum == 500 and got.i2t.ties == 0


def test_positives_and_image_of_say_the_same():
    rng = np.random.default_rng(1)
    S, image_of = rng.normal(size=(40, 12)), uneven(np.random.default_rng(2), 40, 12)
    assert recalls(S, image_of) == recalls(S, image_of[:, None] == np.arange(12))


def test_a_caption_may_describe_several_images():
    S = np.array([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    right = np.array([[True, False, True], [False, True, False]])
    assert ranks(S, right, "t2i").rank.tolist() == [1, 1]
    assert ranks(S.T, right, "i2t").rank.tolist() == [1, 1, 0]


def test_constant_scores_report_that_ties_decide():
    got = recalls(np.zeros((20, 20)), np.arange(20))
    for side in (got.i2t, got.t2i):
        assert side.ties == 20 and side.r1 == 5 and side.r1_best == 100 and side.r1_worst == 0


def test_equal_captions_of_one_image_are_no_tie():
    S = np.array([[0.5, 0.1], [0.5, 0.2], [0.1, 0.9]])
    assert recalls(S, [0, 0, 1]).i2t.ties == 0


def test_json_names_ties_only_where_there_are_any():
    clean = json.loads(json.dumps(recalls(np.eye(3), np.arange(3), "index").to_json()))
    assert clean["mode"] == "index" and clean["rsum"] == 600 and set(clean) == {"i2t", "t2i", "rsum", "mode"}
    assert {"r1", "r5", "r10", "medr", "meanr", "ties"} <= set(clean["i2t"]) and "r1_best" not in clean["i2t"]
    assert "r1_worst" in recalls(np.zeros((3, 3)), np.arange(3)).to_json()["t2i"]


def test_results_do_not_depend_on_the_block(monkeypatch):
    rng = np.random.default_rng(3)
    S, image_of = np.round(rng.normal(size=(50, 13)), 1), uneven(rng, 50, 13)
    whole = recalls(S, image_of)
    for block in (1, 40, 333):
        monkeypatch.setattr(metrics, "BLOCK", block)
        assert recalls(S, image_of) == whole


def test_ranks_are_the_places_in_the_sorted_list():
    rng = np.random.default_rng(4)
    S, image_of = np.round(rng.normal(size=(30, 9)), 1), uneven(rng, 30, 9)
    order = np.argsort(-S, axis=1, kind="stable").tolist()
    places = [ids.index(image) for ids, image in zip(order, image_of, strict=True)]
    np.testing.assert_array_equal(ranks(S, image_of, "t2i").rank, places)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    S = np.eye(4)
    S[2, 1] = bad
    with pytest.raises(ShapeError, match=r"\(2, 1\)"):
        recalls(S, np.arange(4))


def test_a_wrong_map_is_refused():
    with pytest.raises(ShapeError, match="numbered 0 to 2"):
        recalls(np.eye(3), [0, 1, 3])
    with pytest.raises(ShapeError, match="for every caption"):
        recalls(np.eye(3), [0, 1])
    with pytest.raises(ShapeError, match="captions × images"):
        recalls(np.eye(3), np.eye(2, dtype=bool))
    with pytest.raises(ShapeError, match="no True"):
        recalls(np.eye(3), np.zeros((3, 3), bool))
