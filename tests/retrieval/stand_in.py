"""A model made of whole numbers: its sums are exact in any order, and many scores are equal."""

from __future__ import annotations

import numpy as np

from attnretrieval.config import ModelConfig, Side
from attnretrieval.model import Encoded

D = 4


class StandIn:
    """s(t, v) = the sum over the words of the best product with a region; counts the pairs that it is asked for."""

    d = D
    config, fast = ModelConfig(Side(D), Side(D), words=1, d=D), False

    def __init__(self):
        self.pairs = 0

    def score_matrix(self, texts: Encoded, images: Encoded) -> np.ndarray:
        C, I = len(texts.g), len(images.g)
        t_index, v_index = np.repeat(np.arange(C), I), np.tile(np.arange(I), C)
        return self.score_pairs(texts, images, t_index, v_index).reshape(C, I)

    def score_pairs(self, texts: Encoded, images: Encoded, t_index, v_index, products=None) -> np.ndarray:
        self.pairs += len(t_index)
        scores = np.empty(len(t_index), texts.H.dtype)
        for p, (t, v) in enumerate(zip(t_index, v_index, strict=True)):
            products = texts.H[t][texts.mask[t]] @ images.H[v][images.mask[v]].T
            scores[p] = products.max(axis=1).sum()
        return scores


def encoded(rng: np.random.Generator, count: int, n: int, dtype: str = "float32", like: int = 0) -> Encoded:
    """`count` items of up to n tokens; the last `like` repeat the first ones."""
    mask = np.arange(n) < rng.integers(1, n + 1, count)[:, None]
    H = rng.integers(-3, 4, (count, n, D)).astype(dtype)
    g = rng.integers(-3, 4, (count, D)).astype(dtype) + 0.5
    for x in (mask, H, g):
        x[count - like :] = x[:like]
    return Encoded(H, mask, g.astype(dtype))


def padded(items: Encoded, by: int) -> Encoded:
    """The same items with `by` more columns of padding, full of numbers that nobody may read."""
    H = np.pad(items.H, ((0, 0), (0, by), (0, 0)), constant_values=99)
    return Encoded(H, np.pad(items.mask, ((0, 0), (0, by))), items.g)
