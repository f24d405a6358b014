"""A small world on disk, made once by the verbs themselves: scenes, features, a model and a gallery.

`say` runs a command line that names places of this world in braces: say("search {gallery} 'a red ball'").
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from attnretrieval.cli import main
from attnretrieval.inputs.scenes import make_scenes, write_folder

RECIPE = """
[text]
tokeniser = "characters"
d_vectors = 8
project = true

[image]
pca = 8
project = true

[model]
d = 8
heads = 2
cross_heads = 2
cross_projections = true

[training]
batch_images = 16

[[stages]]
epochs = 1

[[stages]]
epochs = 1
paired_weight = 1.0
"""


class Said(NamedTuple):
    code: int
    out: str
    errors: list[str]           # the lines on stderr that are no progress bar


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """Names of files and folders. No test may change what is there."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    write_folder({"train": make_scenes("train", 60, rng), "val": make_scenes("val", 20, rng)}, root / "seen")
    write_folder({"test": make_scenes("test", 20, rng)}, root / "unseen")
    at = {"root": root, "none": root / "none", "recipe": root / "recipe.toml", "run": root / "run",
          "model": root / "run" / "model.npz", "gallery": root / "gallery"}
    at["recipe"].write_text(RECIPE)
    for folder, new in ((root / "seen", ""), (root / "unseen", "new_")):
        both = [(folder / f"captions.{language}.txt").read_text(encoding="utf-8") for language in ("en", "zh")]
        (folder / "captions.txt").write_text("".join(both), encoding="utf-8")
        at |= {f"{new}images": folder / "images", f"{new}captions": folder / "captions.txt",
               f"{new}phrases": folder / "phrases.en.json", f"{new}features": folder / "features"}
        at[f"{new}data"] = f"--features {folder / 'features'} --captions {folder / 'captions.txt'}"
        assert main(["features", str(folder / "images"), str(folder / "features"), "--extractor", "patches"]) == 0
    at |= {split: root / "seen" / f"{split}.txt" for split in ("train", "val")}
    for line in ("train {recipe} {data} --train {train} --val {val} --out {run}",
                 "index {model} {data} --split {val} --out {gallery}"):
        assert main(shlex.split(line.format(**at))) == 0
    return at


@pytest.fixture
def say(places, capsys, tmp_path, monkeypatch):
    """Runs a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()

    def run(line: str, **more: Path) -> Said:
        try:
            code = main(shlex.split(line.format(**places, **more)))
        except SystemExit as exit:          # of argparse
            code = exit.code
        out, err = capsys.readouterr()
        return Said(code, out, [text for text in err.replace("\r", "\n").split("\n") if text and "%|" not in text])
    return run


@pytest.fixture
def do(say):
    """As `say`, for a command line that succeeds without a complaint; its output."""
    def run(line: str, **more: Path) -> str:
        said = say(line, **more)
        errors = [text for text in said.errors if "no installed font draws" not in text]    # not every machine has Chinese
        assert (said.code, errors) == (0, []), line
        return said.out
    return run
