"""What is computed in a training step, once for all contenders: sizes, model, start weights and batch.

Each side has one layer of multi-head self-attention without residual or norm, from the features themselves. The words come from
a frozen table, cross-attention has no weights of its own, a sentence and an image are the mean of their tokens, and the loss is
InfoNCE with learnt temperatures. Three tasks:

    alone     L_alone only                  no cross-attention
    add       L_alone + L_paired            F = H + C
    gate      L_alone + L_paired            F = G ∘ H + (1 - G) ∘ C, G = σ([H ; C] W + b)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnretrieval.config import ModelConfig, Side, wanted_parameters
from attnretrieval.parameters import Parameters
from attnretrieval.training.objective import Batch, Objective

WORDS = 2000                    # rows of the word table
LEARNING_RATE = 1e-5            # small, so that the batch stays as hard as it was over thousands of steps


@dataclass(frozen=True)
class Size:
    n: int                      # words of a padded sentence
    least: int                  # words of the shortest sentence
    m: int                      # regions
    d_t: int
    d_v: int
    d: int
    heads: int


SIZES = {
    "large": Size(n=16, least=6, m=36, d_t=300, d_v=2048, d=256, heads=8),
    "small": Size(n=16, least=6, m=49, d_t=300, d_v=320, d=128, heads=8),
    "tiny": Size(n=8, least=3, m=16, d_t=32, d_v=32, d=32, heads=4),
}
TASKS = {"alone": ("add", 0.0), "add": ("add", 1.0), "gate": ("gate", 1.0)}     # fusion, weight of L_paired


@dataclass(frozen=True)
class Problem:
    size: Size
    config: ModelConfig
    parameters: Parameters
    table: np.ndarray           # (WORDS, d_t)
    batch: Batch
    objective: Objective

    @property
    def paired(self) -> bool:
        return self.objective.paired_weight > 0


def draw_problem(size: str | dict[str, int], task: str, N: int, dtype: str = "float32", seed: int = 0) -> Problem:
    """The same numbers for every contender. N sentences and N images, the i-th of one describing the i-th of the other.

    No `Model` is made: what that does to its process (see docs/performance.md) is not for the other contenders.
    `size` is the name of one of SIZES, or the fields of a `Size`.
    """
    size = SIZES[size] if isinstance(size, str) else Size(**size)
    rng = np.random.default_rng(seed)
    fusion, weight = TASKS[task]
    config = ModelConfig(text=Side(size.d_t), image=Side(size.d_v), words=WORDS, d=size.d, heads=size.heads, fusion=fusion,
                         trained_words=False)
    parameters = Parameters.draw(wanted_parameters(config), rng, dtype)
    for name, shape in parameters.shapes.items():
        if len(shape) == 1:             # biases start at 0, where a wrong gradient could hide
            parameters[name][...] = 0.1 * rng.standard_normal(shape)
    table = rng.standard_normal((WORDS, size.d_t), dtype)
    batch = Batch(
        ids=rng.integers(0, WORDS, (N, size.n)),
        word_mask=np.arange(size.n) < sentence_lengths(size, N, seed)[:, None],
        regions=rng.standard_normal((N, size.m, size.d_v), dtype),
        region_mask=None,
        positives=np.eye(N, dtype=bool),
    )
    return Problem(size, config, parameters, table, batch, Objective(paired_weight=weight))


def sentence_lengths(size: Size, N: int, seed: int = 0) -> np.ndarray:
    """(N,) the real words of each sentence; the first has all."""
    lengths = np.random.default_rng(seed + 1).integers(size.least, size.n + 1, N)
    lengths[0] = size.n
    return lengths
