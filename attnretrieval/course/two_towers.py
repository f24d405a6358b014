"""The smallest retriever: one vector for a caption, one for an image, trained in seconds in lesson 4.

    (1)  g_t = mean over the words of feed_forward(T)           (C, d)
         g_v = mean over the regions of feed_forward(V)         (I, d)
    (2)  S = cosine(g_t, g_v)                                   (C, I)
    (3)  L = loss(S, log_temperature, positives)

A mean forgets the order of the words: "a cat chases a ball" and "a ball chases a cat" are one to it. That is
enough to see what a loss does, which is all that it is for; the real retriever is model.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attnretrieval.equations.cosine import cosine_similarity, cosine_similarity_backward
from attnretrieval.equations.feed_forward import feed_forward, feed_forward_backward
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.equations.pooling import pool_mean, pool_mean_backward
from attnretrieval.equations.triplet import triplet_loss, triplet_loss_backward
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.regions import RegionProjection
from attnretrieval.inputs.scenes import LANGUAGES, Scene, captions_of
from attnretrieval.inputs.words import Vocabulary
from attnretrieval.parameters import Parameters, Wanted
from attnretrieval.retrieval.metrics import recalls
from attnretrieval.training.optimisers import Adam

Loss = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, np.ndarray, float]]  # → L, d_S, d_log_temperature


class Told(NamedTuple):
    """Images and what is said of them."""

    T: np.ndarray           # (C, n, d_t)
    mask: np.ndarray        # (C, n) True = a real word
    V: np.ndarray           # (I, m, d_v)
    image_of: np.ndarray    # (C,) the image that each caption describes

    def take(self, images: np.ndarray, captions: np.ndarray) -> tuple[Told, np.ndarray]:
        """These images and captions alone, and their positives (C, I)."""
        positives = self.image_of[captions][:, None] == images
        return Told(self.T[captions], self.mask[captions], self.V[images], positives.argmax(axis=1)), positives


def tell(scenes: Sequence[Scene], vocabulary: Vocabulary, E: np.ndarray, projection: RegionProjection) -> Told:
    """Four captions a scene, two in each language. E (R, d_t): word vectors."""
    texts = [caption.text for scene in scenes for language in LANGUAGES for caption in captions_of(scene, language)]
    ids, mask = vocabulary.encode(texts)
    V = np.stack([PatchExtractor()(scene.image) for scene in scenes])
    return Told(E[ids], mask, projection.apply(V), np.repeat(np.arange(len(scenes)), len(texts) // len(scenes)))


def by_info_nce(S: np.ndarray, log_temperature: np.ndarray, positives: np.ndarray) -> tuple[float, np.ndarray, float]:
    L, cache = info_nce(S, log_temperature, positives)
    return float(L), *info_nce_backward(1.0, cache)


def by_triplet(violations: str, margin: float = 0.2) -> Loss:
    def loss(S: np.ndarray, log_temperature: np.ndarray, positives: np.ndarray) -> tuple[float, np.ndarray, float]:
        L, cache = triplet_loss(S, positives, margin, violations)
        return float(L), triplet_loss_backward(1.0, cache).d_S, 0.0
    return loss


class TwoTowers:
    """Equations (1) to (3) and their backward, with Adam."""

    def __init__(self, d_t: int, d_v: int, rng: np.random.Generator, d: int = 32, hidden: int = 64, temperature: float = 0.1):
        self.parameters = Parameters.draw({
            **{f"{side}.{name}": wanted for side, d_in in (("text", d_t), ("image", d_v)) for name, wanted in
               (("W_1", Wanted((d_in, hidden))), ("b_1", Wanted((hidden,), "zeros")),
                ("W_2", Wanted((hidden, d))), ("b_2", Wanted((d,), "zeros")))},
            "log_temperature": Wanted((), "value", math.log(temperature))}, rng)

    def vectors(self, told: Told) -> tuple[np.ndarray, np.ndarray]:
        """g_t (C, d), g_v (I, d)."""
        return self._pooled(told)[:2]

    def _pooled(self, told: Told) -> tuple[np.ndarray, np.ndarray, tuple]:
        F_t, fed_t = feed_forward(told.T, **self.parameters.under("text"))
        F_v, fed_v = feed_forward(told.V, **self.parameters.under("image"))
        (g_t, pooled_t), (g_v, pooled_v) = pool_mean(F_t, told.mask), pool_mean(F_v)                # (1)
        return g_t, g_v, (fed_t, fed_v, pooled_t, pooled_v)

    def forward(self, told: Told) -> tuple[np.ndarray, tuple]:
        """S (C, I)."""
        g_t, g_v, steps = self._pooled(told)
        S, cosines = cosine_similarity(g_t, g_v)                                                    # (2)
        return S, (*steps, cosines)

    def backward(self, d_S: np.ndarray, d_log_temperature: float, cache: tuple) -> Parameters:
        """The gradient of L for all parameters."""
        fed_t, fed_v, pooled_t, pooled_v, cosines = cache
        d_g_t, d_g_v = cosine_similarity_backward(d_S, cosines)                                     # (2)
        gradient = self.parameters.zeros_like()
        gradient.add("text", feed_forward_backward(pool_mean_backward(d_g_t, pooled_t).d_F, fed_t))     # (1)
        gradient.add("image", feed_forward_backward(pool_mean_backward(d_g_v, pooled_v).d_F, fed_v))
        gradient["log_temperature"][...] = d_log_temperature
        return gradient

    def train(self, told: Told, loss: Loss, steps: int, rng: np.random.Generator, images: int = 32, captions: int = 2,
              lr: float = 3e-3) -> Iterator[float]:
        """Yields the loss after every step, so that one can look at the network on its way."""
        adam = Adam(self.parameters.flat)
        each = len(told.T) // len(told.V)
        for step in range(steps):
            chosen = rng.permutation(len(told.V))[:images]
            said = rng.permuted(np.tile(np.arange(each), (images, 1)), axis=1)[:, :captions]
            batch, positives = told.take(chosen, (each * chosen[:, None] + said).ravel())
            S, cache = self.forward(batch)
            L, d_S, d_log_temperature = loss(S, self.parameters["log_temperature"], positives)      # (3)
            adam.step(self.parameters.flat, self.backward(d_S, d_log_temperature, cache).flat, lr * (1 - step / steps))
            yield L

    def share_found(self, told: Told) -> float:
        """Of the captions, the share whose own image is the most similar of all: R@1 as a share."""
        return recalls(self.forward(told)[0], told.image_of).t2i.r1 / 100
