"""Wrong input of every kind: exit code 2, one line that names what is wrong, and nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.inputs.regions import open_regions, write_manifest

IMAGE = "{images}/scene_00000.png"
EVALUATE = "evaluate {model} {data} --split {val}"
INDEX = "index {model} {data} --split {val} --out out"
TRAIN = "train {recipe} {data} --train {train} --val {val} --out out"


@pytest.fixture(scope="module")
def bad(places, tmp_path_factory):
    """A folder of what is wrong."""
    root = tmp_path_factory.mktemp("bad")
    (root / "folder").mkdir()
    (root / "others").mkdir()
    (root / "others" / "diary.txt").write_text("mine\n")
    (root / "file").write_text("no image\n")
    (root / "photos").mkdir()
    (root / "photos" / "text.png").write_text("no image\n")
    (root / "names").write_text("scene_00000.png\nnobody.png\n")
    (root / "empty").write_text("")
    lines = places["captions"].read_text(encoding="utf-8")
    (root / "more.txt").write_text(lines + "nobody.png#0\tnobody extracted it\n", encoding="utf-8")
    (root / "few.txt").write_text("".join(line for line in lines.splitlines(True) if "_00061" not in line), encoding="utf-8")
    cut(places["model"], root / "cut.npz")
    np.savez(root / "other.npz", x=np.zeros(3))
    np.save(root / "array.npy", np.zeros(3))

    store = open_regions(places["features"])
    spoilt = np.array(store.regions)
    spoilt[65, 3, 7] = np.nan
    make_store(root / "nan", store, spoilt)
    make_store(root / "narrow", store, store.regions[:, :, :10])
    make_store(root / "foreign", store, store.regions, "onnx:other.onnx")
    (root / "precomputed").mkdir()
    for split, captions in (("train", 9), ("dev", 10)):
        np.save(root / "precomputed" / f"{split}_ims.npy", np.ones((2, 3, 4), np.float32))
        (root / "precomputed" / f"{split}_caps.txt").write_text("a caption\n" * captions)
    return root


def make_store(folder, store, regions, extractor="patches"):
    folder.mkdir()
    np.save(folder / "features.npy", regions)
    write_manifest(folder, store.names, store.sizes, store.boxes, store.grid, extractor)


def files(folder: Path) -> dict[str, int]:
    """What is below a folder, temporary files too, and when each was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def cut(source: Path, target: Path, share: float = 0.5) -> Path:
    """A copy of the file that ends early."""
    shutil.copyfile(source, target)
    with open(target, "r+b") as file:
        file.truncate(int(share * source.stat().st_size))
    return target


@pytest.fixture
def refused(say, places, bad, tmp_path):
    """Checks that a call ends in one line with all these parts, exit code 2, and no file written but those of `left`."""
    def run(line: str, *parts: str, left: str = "\0") -> None:
        before = [files(folder) for folder in (places["root"], bad, tmp_path)]
        said = say(line, bad=bad)
        assert said.code == 2 and len(said.errors) == 1, said
        assert said.errors[0].startswith(f"attnretrieval {line.split()[0]}: ")
        for part in parts:
            assert part.format(**places, bad=bad) in said.errors[0]
        mine = {name: when for name, when in files(tmp_path).items() if not name.startswith(left)}
        assert [files(places["root"]), files(bad), mine] == before
    return run


CASES = [
    # ---- features
    ("features {none} out", "{none} does not exist"),
    ("features {bad}/file out", "{bad}/file is a file"),
    ("features {bad}/folder out", "{bad}/folder holds no image"),
    ("features {images} out --names {none} --extractor patches", "{none} does not exist"),
    ("features {images} out --names {bad}/names --extractor patches", "nobody.png"),
    ("features {images} out --names {bad}/empty --extractor patches", "{bad}/empty: holds no image names"),
    ("features {images} out --extractor nothing", "'nothing'", "patches"),
    ("features {images} out --extractor onnx:{none}", "{none} does not exist"),
    ("features {images} out --extractor patches --processes 0", "processes=0"),
    ("features {images} {new_features} --extractor patches", "{new_features} holds features of other images"),
    ("features {images} {bad}/others --extractor patches", "{bad}/others holds files"),
    ("features {images} {bad}/file/out --extractor patches", "{bad}/file is a file"),
    # ---- train
    (TRAIN.replace("{recipe}", "{none}"), "the recipe {none} does not exist"),
    (TRAIN.replace("{data}", "--features {none} --captions {captions}"), "the folder of features {none} does not exist"),
    (TRAIN.replace("{data}", "--features {features} --captions {none}"), "the captions file {none} does not exist"),
    (TRAIN.replace("{data}", "--features {features}"), "--captions"),
    (TRAIN.replace("{data}", "--features {bad}/nan --captions {captions}"), "scene_00065.png", "{bad}/nan", "NaN"),
    (TRAIN.replace("{data}", "--features {new_features} --captions {captions}"), "no features in {new_features}", "_00020.png"),
    (TRAIN.replace("{data}", "--features {features} --captions {bad}/few.txt"), "no captions", "scene_00061.png"),
    (TRAIN.replace("{train}", "{none}"), "the split {none} is no file"),
    (TRAIN.replace("{val}", "{none}"), "the split {none} is no file"),
    (TRAIN.replace("{val}", "test"), "the split test is no file"),
    (TRAIN.replace("{val}", "{train}"), "60 images are in both splits", "scene_00000.png"),
    (TRAIN.replace("{train}", "{bad}/names"), "no captions", "nobody.png"),
    (TRAIN.replace("out out", "out {run}"), "{run} holds a run already", "--resume"),
    (TRAIN.replace("out out", "out {bad}/file"), "{bad}/file is a file"),
    (TRAIN.replace("out out", "out {bad}/file/out"), "{bad}/file/out"),
    (TRAIN + " --vectors {none}", "--vectors"),
    (TRAIN + " --resume", "the checkpoint out/checkpoint.npz does not exist"),
    ("train {recipe} --features {bad}/precomputed --train train --val dev --out out", "9 captions for the 2 images"),
    # ---- evaluate
    (EVALUATE.replace("{model}", "{none}"), "the model file {none} does not exist"),
    (EVALUATE.replace("{model}", "{run}"), "{run} is a folder"),
    (EVALUATE.replace("{model}", "{bad}/cut.npz"), "{bad}/cut.npz is not a model file", "cut off"),
    (EVALUATE.replace("{model}", "{bad}/other.npz"), "{bad}/other.npz is not a model file"),
    (EVALUATE.replace("{model}", "{bad}/array.npy"), "{bad}/array.npy is not a model file"),
    (EVALUATE.replace("{data}", "--features {none} --captions {captions}"), "{none} does not exist"),
    (EVALUATE.replace("{data}", "--features {images} --captions {captions}"), "{images} is not a folder of features"),
    (EVALUATE.replace("{data}", "--features {features} --captions {none}"), "{none} does not exist"),
    (EVALUATE.replace("{data}", "--features {bad}/nan --captions {captions}"), "scene_00065.png", "NaN"),
    (EVALUATE.replace("{data}", "--features {bad}/narrow --captions {captions}"), "(20, 16, 10)", "768", "patches"),
    (EVALUATE.replace("{data}", "--features {bad}/foreign --captions {captions}"), "'onnx:other.onnx'", "'patches'"),
    (EVALUATE.replace("--split {val}", "--split dev").replace("{data}", "--features {bad}/precomputed"), "'precomputed'"),
    ("evaluate {model} --features {features} --captions {bad}/more.txt", "no features in {features}", "nobody.png"),
    (EVALUATE.replace("{val}", "{bad}/names"), "no captions", "nobody.png"),
    (EVALUATE.replace("{val}", "{none}"), "the split {none} is no file"),
    (EVALUATE + " --phrases {none}", "{none} does not exist"),
    (EVALUATE + " --phrases {new_phrases}", "{new_phrases}: holds no sentence"),
    (EVALUATE + " --phrases {phrases} --smooth 2", "smooth=2"),
    (EVALUATE + " --rerank-k 0", "rerank_k=0"),
    (EVALUATE + " --json {bad}/folder", "{bad}/folder is a folder"),
    (EVALUATE + " --json {bad}/file/a.json", "{bad}/file is a file"),
    # ---- index
    (INDEX.replace("{model}", "{none}"), "the model file {none} does not exist"),
    (INDEX.replace("{model}", "{bad}/cut.npz"), "{bad}/cut.npz is not a model file"),
    (INDEX.replace("{data}", "--features {none}"), "{none} does not exist"),
    (INDEX.replace("{data}", "--features {features} --captions {none}"), "{none} does not exist"),
    (INDEX.replace("{data}", "--features {bad}/nan"), "scene_00065.png", "NaN"),
    (INDEX.replace("{data}", "--features {bad}/narrow"), "(20, 16, 10)", "768"),
    (INDEX.replace("{data}", "--features {bad}/foreign"), "'onnx:other.onnx'", "'patches'"),
    (INDEX.replace("{val}", "{bad}/names"), "nobody.png"),
    (INDEX.replace("{data}", "--features {features}").replace("{val}", "{bad}/names"), "nobody.png"),
    (INDEX.replace("{data}", "--features {features}").replace("{val}", "{none}"), "{none} does not exist"),
    (INDEX.replace("out out", "out {bad}/others"), "{bad}/others is a folder with other things"),
    (INDEX.replace("out out", "out {bad}/file"), "{bad}/file is a file"),
    (INDEX.replace("out out", "out {bad}/file/out"), "{bad}/file is a file"),
    # ---- search
    ("search {none} ball", "the gallery {none} does not exist"),
    ("search {run} ball", "{run} is no gallery"),
    ("search {gallery}", "give a text or --image"),
    (f"search {{gallery}} ball --image {IMAGE}", "give a text or --image"),
    ("search {gallery} ''", "the query is empty"),
    ("search {gallery} ' '", "the query is empty"),
    ("search {gallery} 'xyzzy plugh'", "xyzzy, plugh"),
    ("search {gallery} '!?'", "'!?' holds no word"),
    ("search {gallery} ball -k 0", "k=0"),
    ("search {gallery} ball -k -3", "k=-3"),
    ("search {gallery} ball --rerank-k 0", "rerank_k=0"),
    ("search {gallery} --image {none}", "the image {none} does not exist"),
    ("search {gallery} --image {bad}/photos/text.png", "the image {bad}/photos/text.png cannot be read"),
    ("search {gallery} ball --sheet a.png", "--images"),
    ("search {gallery} ball --sheet a.png --images {none}", "the image {none}/scene_"),
    ("search {gallery} ball --sheet a.xyz --images {images}", "a.xyz", ".png"),
    ("search {gallery} ball --sheet {bad}/folder --images {images}", "{bad}/folder is a folder"),
    # ---- explain
    (f"explain {{none}} {IMAGE} ball", "the model file {none} does not exist"),
    (f"explain {{bad}}/folder {IMAGE} ball", "{bad}/folder/model.npz does not exist"),
    (f"explain {{bad}}/cut.npz {IMAGE} ball", "{bad}/cut.npz is not a model file"),
    ("explain {model} {none} ball", "the image {none} does not exist"),
    ("explain {model} {bad}/photos/text.png ball", "the image {bad}/photos/text.png cannot be read"),
    (f"explain {{model}} {IMAGE} ''", "the query is empty"),
    (f"explain {{model}} {IMAGE} xyzzy", "xyzzy"),
    (f"explain {{model}} {IMAGE} ball --head 2", "--head 2", "0 to 1"),
    (f"explain {{model}} {IMAGE} ball --html a.png", "the page a.png", ".html"),
    (f"explain {{model}} {IMAGE} ball --language zh", "--language", "give --html FILE too"),
    (f"explain {{model}} {IMAGE} ball --out a.xyz", "a.xyz", ".png"),
    (f"explain {{model}} {IMAGE} ball --out a", "the picture a:", ".png"),
    (f"explain {{model}} {IMAGE} ball --out {{bad}}/folder", "{bad}/folder is a folder"),
    # ---- gradcheck and demo
    ("gradcheck nothing", "'nothing'", "softmax"),
    ("gradcheck softmax --json {bad}/folder", "{bad}/folder is a folder"),
    ("demo --out {bad}/file", "{bad}/file is a file"),
]


@pytest.mark.parametrize("line, parts", [(line, parts) for line, *parts in CASES], ids=[line for line, *_ in CASES])
def test_wrong_input(refused, line, parts):
    refused(line, *parts)


# ---- recipes ---------------------------------------------------------------------------------------------------------

RECIPES = [
    ("[text]", "[text", "is not TOML", "line 2"),
    ("[text]", "[text]\nmin_cout = 2", "'min_cout'", "did you mean 'min_count'?"),
    ("[text]", "[texts]", "'texts'", "did you mean 'text'?"),
    ("[text]", "model = 3\n[text]", "is not TOML"),
    ("[image]\npca = 8\nproject = true", "[image]\npositions = 16", "image: without project"),
    ("[[stages]]\nepochs = 1\n\n[[stages]]", "[stages]", "[[stages]]"),
    ("[image]", "[[image]]", "written [image]"),
    ("epochs = 1", "", "[[stages]] lacks epochs"),
    ("epochs = 1", "epochs = '1'", "epochs='1' is no int; write a whole number"),
    ("epochs = 1", "epochs = 0", "epochs=0"),
    ("epochs = 1", "epochs = 1\nlearning_rate = -1.0", "learning_rate=-1.0"),
    ("epochs = 1", "epochs = 1\nschedule = 'steep'", "'steep'", "cosine"),
    ("paired_weight = 1.0", "paired_weight = nan", "paired_weight=nan"),
    ("batch_images = 16", "batch_images = 0", "batch_images=0"),
    ("batch_images = 16", "captions_per_image = 0", "captions_per_image=0"),
    ("batch_images = 16", "drop_words = 1.5", "drop_words=1.5", "from 0 to below 1"),
    ("batch_images = 16", "seed = -1", "seed=-1"),
    ("batch_images = 16", "optimiser = 'magic'", "'magic'", "adam"),
    ("batch_images = 16", "loss = 'magic'", "'magic'", "triplet"),
    ("d_vectors = 8", "d_vectors = 0", "d_vectors=0"),
    ("d_vectors = 8", "max_words = 0", "max_words=0"),
    ("d_vectors = 8", "vectors = 'pieces'", 'tokeniser="pieces"'),
    ("d_vectors = 8", "vectors = 'file'", "--vectors"),
    ("d_vectors = 8", "min_count = 1000000", "1000000 times"),
    ("pca = 8", "pca = -1", "pca=-1"),
    ("pca = 8", "pca = 769", "pca=769", "768"),
    ("pca = 8", "positions = 49", "positions=49", "16 regions"),
    ("pca = 8", "pooling = 'most'", "'most'", "attention"),
    ("pca = 8", "drop_hidden = 1.0", "drop_hidden=1.0"),
    ("pca = 8", "feed_forward = -1", "feed_forward=-1"),
    ("\nd = 8", "\nd = 0", "d=0"),
    ("\nheads = 2", "\nheads = 3", "heads=3", "d=8"),
    ("cross_heads = 2", "cross_heads = 3", "cross_heads=3", "d=8"),
    ("cross_heads = 2", "temperature = 0", "temperature=0"),
    ("cross_heads = 2", "fusion = 'cold'", "'cold'", "concat"),
]


@pytest.mark.parametrize("old, new, parts", [(old, new, parts) for old, new, *parts in RECIPES],
                         ids=[new or f"without {old}" for old, new, *_ in RECIPES])
def test_wrong_recipes(refused, places, tmp_path, old, new, parts):
    text = places["recipe"].read_text()
    assert old in text
    (tmp_path / "wrong.toml").write_text(text.replace(old, new, 1))
    refused(TRAIN.replace("{recipe}", "wrong.toml"), *parts)


def test_missing_word_vectors(refused, places, tmp_path):
    text = places["recipe"].read_text()
    (tmp_path / "file.toml").write_text(text.replace("d_vectors = 8", "vectors = 'file'"))
    refused(TRAIN.replace("{recipe}", "file.toml") + " --vectors {none}", "the file of word vectors {none} does not exist")


def test_captions_longer_than_the_places(do, places, tmp_path):
    """A learnt code for each of the first words: what goes beyond is cut, in training as in a query."""
    text = places["recipe"].read_text()
    (tmp_path / "short.toml").write_text(text.replace("[text]", "[text]\npositions = 5"))
    do(TRAIN.replace("{recipe}", "short.toml"))
    do("index out/model.npz {data} --out g")
    a, b = (do(f"search g 'a red ball is above {rest}'") for rest in ("", "a blue cat is left of a green dog"))
    assert a == b


# ---- runs that are gone on with, and runs that fail --------------------------------------------------------------------


@pytest.fixture
def run(places, tmp_path):
    return shutil.copytree(places["run"], tmp_path / "out")


def test_resume_with_another_recipe(refused, places, tmp_path, run):
    (tmp_path / "other.toml").write_text(places["recipe"].read_text().replace("pca = 8", "pca = 9"))
    line = TRAIN.replace("{recipe}", "other.toml") + " --resume"
    refused(line, "another recipe", "out/recipe.toml")
    (run / "recipe.toml").unlink()
    refused(line, "out/checkpoint.npz belongs to")


def test_resume_from_a_damaged_checkpoint(refused, places, run):
    cut(places["run"] / "checkpoint.npz", run / "checkpoint.npz")
    refused(TRAIN + " --resume", "out/checkpoint.npz is damaged")


def test_training_that_diverges(refused, places, tmp_path):
    (tmp_path / "wild.toml").write_text(places["recipe"].read_text().replace("epochs = 1", "epochs = 1\nlearning_rate = 1e30"))
    refused(TRAIN.replace("{recipe}", "wild.toml"), "the gradient is", "learning rate 1e+30", left="out")
    assert set(files(tmp_path / "out")) == {"recipe.toml"}


# ---- images, galleries and models that end early -------------------------------------------------------------------------


def test_an_image_that_is_none_keeps_what_is_finished(refused, do, places, tmp_path):
    shutil.copytree(places["new_images"], tmp_path / "photos")
    whole = (tmp_path / "photos" / "scene_00007.png").read_bytes()
    (tmp_path / "photos" / "scene_00007.png").write_text("no image\n")
    line = "features photos out --extractor patches --processes 1"
    refused(line, "photos/scene_00007.png cannot be read", "what is finished is kept", left="out.partial")
    (tmp_path / "photos" / "scene_00007.png").write_bytes(whole)
    do(line)
    assert np.array_equal(open_regions("out").regions, open_regions(places["new_features"]).regions)
    assert not (tmp_path / "out.partial").exists()


NAMES = ["manifest.json", "model.npz", "images/ids.json", "images/g.npy", "images/tokens.npy", "images/mask.npy",
         "texts/captions.json", "texts/g.npy", "texts/tokens.npy", "texts/mask.npy", "texts/image_of.npy"]


def test_these_are_the_files_of_a_gallery(places):
    assert sorted(NAMES) == sorted(name for name in files(places["gallery"]) if (places["gallery"] / name).is_file())


@pytest.mark.parametrize("share", [0, 0.5, 0.999, None])
@pytest.mark.parametrize("name", NAMES)
def test_a_gallery_that_is_cut_off(refused, places, tmp_path, name, share):
    gallery = shutil.copytree(places["gallery"], tmp_path / "g")
    (gallery / name).unlink()
    if share is not None:
        cut(places["gallery"] / name, gallery / name, share)
    refused("search g ball", "g", name)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99, 0.9999])
def test_a_model_that_is_cut_off(refused, places, tmp_path, share):
    cut(places["model"], tmp_path / "m.npz", share)
    refused(EVALUATE.replace("{model}", "m.npz"), "m.npz is not a model file")


@pytest.mark.parametrize("name", ["manifest.json", "features.npy"])
@pytest.mark.parametrize("share", [0, 0.5, 0.999, None])
def test_features_that_are_cut_off(refused, places, tmp_path, name, share):
    features = shutil.copytree(places["features"], tmp_path / "f")
    (features / name).unlink()
    if share is not None:
        cut(places["features"] / name, features / name, share)
    refused("index {model} --features f --out out", " f ")


def test_a_model_of_precomputed_features_takes_no_image(refused, do, tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "dev"):
        np.save(tmp_path / f"{split}_ims.npy", rng.random((4, 3, 8), np.float32))
        (tmp_path / f"{split}_caps.txt").write_text("a caption\n" * 20)
    do("train {recipe} --features . --train train --val dev --out run")
    do("evaluate run/model.npz --features . --split dev --mode rerank")
    do("index run/model.npz --features . --split dev --out g")
    assert "dev_" in do("search g caption")
    for line in (f"search g --image {IMAGE}", f"explain g {IMAGE} caption"):
        refused(line, "cannot take an image")
