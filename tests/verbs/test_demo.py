"""The demo, on few scenes: everything that it promises is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from attnretrieval.inputs.scenes import RUNNING_EXAMPLE
from attnretrieval.retriever import Retriever

PICTURES = {"curves.png", "search_en.png", "search_zh.png", "attention_en.png", "attention_zh.png"}


def test_demo(do, monkeypatch):
    monkeypatch.setattr("attnretrieval.verbs.demo.COUNTS", {"train": 100, "val": 10, "test": 20})
    said = do("demo --out deep/demo")
    out = Path("deep/demo")
    assert {path.name for path in out.iterdir()} == {*PICTURES, "model.npz", "summary.json"}
    printed = [line for line in said.splitlines() if line.startswith("deep/demo/")]
    assert {Path(line).name for line in printed} == {*PICTURES, "model.npz", "summary.json"}
    for name in PICTURES:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 100

    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert 0 <= summary["text_to_image_r1"] <= 1 and 0 <= summary["pointing_accuracy"] <= 1 and summary["seconds"] > 0
    assert summary["text_to_image_r1"] == pytest.approx(summary["rerank"]["t2i"]["r1"] / 100)
    assert f"{100 * summary['pointing_accuracy']:.1f} %" in said
    for language, query in RUNNING_EXAMPLE.items():
        assert summary[f"example_{language}"]["query"] == query and f"{query}: " in said
    assert Retriever.load(out / "model.npz").extractor == "patches"
