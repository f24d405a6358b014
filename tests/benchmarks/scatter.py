"""The gradient of a word table: the gradients of a batch's words, added up row by row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.equations.embedding import EmbeddingCache, embedding_backward
from tests.benchmarks.contest import Spec, contest, workers
from tests.benchmarks.table import Row

ROWS, D = 8000, 300
SENTENCES, WORDS = 500, 16      # 100 images with five captions each


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Word ids with Zipf's frequencies, and their gradients."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, ROWS + 1)
    ids = rng.choice(ROWS, (SENTENCES, WORDS), p=share / share.sum())
    return ids, rng.standard_normal((SENTENCES, WORDS, D), np.float32)


class Ours:
    def __init__(self):
        self.ids, self.d_X = draw()

    def step(self) -> None:
        embedding_backward(self.d_X, EmbeddingCache(self.ids, ROWS))


class AddAt:
    def __init__(self):
        ids, d_X = draw()
        self.ids, self.d_X = ids.ravel(), d_X.reshape(-1, D)

    def step(self) -> None:
        np.add.at(np.zeros((ROWS, D), np.float32), self.ids, self.d_X)


class IndexAdd:
    """PyTorch."""

    def __init__(self):
        import torch

        torch.set_num_threads(1)
        ids, d_X = draw()
        self.zeros = torch.zeros
        self.ids, self.d_X = torch.from_numpy(ids.ravel()), torch.from_numpy(d_X.reshape(-1, D))

    def step(self) -> None:
        self.zeros(ROWS, D).index_add_(0, self.ids, self.d_X)


def measure(rounds: int, seconds: float) -> Iterator[Row]:
    specs = {name: Spec(f"tests.benchmarks.scatter:{name}") for name in ("Ours", "AddAt", "IndexAdd")}
    with workers(specs) as (started, failed):
        time = {name: 1000 * timing.cpu for name, timing in contest(started, rounds, seconds).items()}
    yield Row("scatter / np.add.at", time["Ours"], time["AddAt"], None, "ms CPU", f"{SENTENCES * WORDS} words, {ROWS} rows")
    yield Row("scatter / torch index_add_", time["Ours"], time.get("IndexAdd"), None, "ms CPU", failed.get("IndexAdd", ""))
