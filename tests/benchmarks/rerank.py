"""Rerank: one sentence, the 100 best images of a gallery by index, re-ordered by their paired scores.

Measured through the public search, gallery on disk included, in three kinds of score. The reference product is the one that all
of them need, H_t H_vᵀ for the 100 candidates: it says how fast this machine multiplies. A gate keeps what it computed of a
candidate: "gate" has met all of them in an earlier query, "gate-first" none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attnretrieval.config import ModelConfig, Side
from attnretrieval.model import Encoded, Model
from attnretrieval.retrieval.gallery import open_gallery, write_gallery
from attnretrieval.retrieval.search import search_images
from tests.benchmarks.contest import Spec, contest, workers
from tests.benchmarks.goals import RERANK_US
from tests.benchmarks.table import Row

ITEMS, CANDIDATES = 1000, 100
N_WORDS, M, D = 16, 49, 256
SCORES = {
    "add": {"fusion": "add"},
    "gate": {"fusion": "gate"},
    "gate-first": {"fusion": "gate"},
    "token_cosine": {"paired_score": "token_cosine", "cross_logits": "cosine"},
}


def tokens(rng: np.random.Generator, count: int, n: int) -> Encoded:
    H = rng.standard_normal((count, n, D), np.float32)
    return Encoded(H, np.ones((count, n), bool), H.mean(axis=1))


class Ours:
    def __init__(self, folder: str, score: str):
        rng = np.random.default_rng(1)
        self.model = Model.create(ModelConfig(Side(D), Side(D), words=1, d=D, **SCORES[score]), rng)
        self.gallery = open_gallery(folder)
        self.forgets = score == "gate-first"
        self.text = tokens(rng, 1, N_WORDS)

    def step(self) -> None:
        if self.forgets:
            self.gallery.image_products.forget()
        search_images(self.gallery, self.model, self.text, "rerank", k=10, rerank_k=CANDIDATES)


class Product:
    def __init__(self):
        rng = np.random.default_rng(0)
        self.H_t, self.H_v = (rng.standard_normal((rows, D), np.float32) for rows in (N_WORDS, CANDIDATES * M))
        self.out = self.H_t @ self.H_v.T

    def step(self) -> None:
        np.matmul(self.H_t, self.H_v.T, out=self.out)


def measure(rounds: int, seconds: float) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "model.npz").write_bytes(b"the model is the benchmark's own")
        images = tokens(np.random.default_rng(0), ITEMS, M)
        write_gallery(path / "gallery", path / "model.npz", images=images, image_names=[str(i) for i in range(ITEMS)])
        specs = {score: Spec("tests.benchmarks.rerank:Ours", {"folder": str(path / "gallery"), "score": score})
                 for score in SCORES}
        with workers(specs | {"product": Spec("tests.benchmarks.rerank:Product")}) as (started, _):
            timings = contest(started, rounds, seconds)
    us = {name: 1e6 * timing.cpu / CANDIDATES for name, timing in timings.items()}
    for score in SCORES:
        yield Row(f"rerank-{score} / limit", us[score], RERANK_US, 1.0, "µs CPU", "a pair")
        yield Row(f"rerank-{score} / product H_t H_vᵀ", us[score], us["product"], None, "µs CPU", "a pair")
