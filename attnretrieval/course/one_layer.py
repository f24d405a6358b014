"""The smallest network that needs self-attention: one layer, trained in seconds in lesson 2.

Every object of a scene has a partner, and a token is asked for something that only its partner knows:

    in a sentence    a noun names its colour ("cat" → black) and a colour its noun ("black" → cat)
    in an image      the region of one object names the shape of the other (the cat's region → ball)

    (1)  Z = X W_X + b_X + P         tokens, with a code for each place         (N, n, d)
    (2)  H = multi-head self-attention of Z                                     (N, n, d)
    (3)  p = softmax(H W + b)        what each token answers                    (N, n, classes)
    (4)  L = - mean log p[target]    over the tokens that are asked

A token's own vector says nothing of its partner, so the answer must come through A. Nothing else does:
no residual, no second layer. That is why the maps of this network can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attnretrieval.equations.linear import linear, linear_backward
from attnretrieval.equations.multi_head import multi_head_attention, multi_head_attention_backward
from attnretrieval.equations.positions import position_code, position_code_backward
from attnretrieval.equations.softmax import softmax
from attnretrieval.inputs.extractors import PatchExtractor
from attnretrieval.inputs.regions import RegionProjection
from attnretrieval.inputs.scene_drawing import COLOURS, SHAPES
from attnretrieval.inputs.scenes import LANGUAGES, Scene, captions_of
from attnretrieval.inputs.words import Vocabulary, phrase_positions
from attnretrieval.parameters import Parameters, Wanted
from attnretrieval.training.optimisers import Adam

CLASSES = (*SHAPES, *COLOURS)
NOT_ASKED = -1


class Questions(NamedTuple):
    X: np.ndarray           # (N, n, d_in)
    mask: np.ndarray        # (N, n) True = a real token
    target: np.ndarray      # (N, n) a number of CLASSES, or NOT_ASKED


def ask_words(scenes: Sequence[Scene], vocabulary: Vocabulary, E: np.ndarray) -> Questions:
    """All captions in both languages: each noun is asked for its colour, each colour for its noun. E (R, d_t): word vectors."""
    told = [(scene, caption) for scene in scenes for language in LANGUAGES for caption in captions_of(scene, language)]
    ids, mask = vocabulary.encode([caption.text for _, caption in told])
    target = np.full(ids.shape, NOT_ASKED)
    for row, (scene, caption) in zip(target, told, strict=True):
        (shape, colour, _, other_shape, other_colour), tokens = scene.meaning, vocabulary.spans(caption.text)
        for span in caption.spans:
            if span.kind != "relation":
                shape_colour = (shape, colour) if span.cells[0] == scene.cells[0] else (other_shape, other_colour)
                partner = shape_colour[1] if span.kind == "object" else shape_colour[0]
                row[phrase_positions(tokens, span.start, span.end)] = CLASSES.index(partner)
    return Questions(E[ids], mask, target)


def ask_regions(scenes: Sequence[Scene], projection: RegionProjection | None = None) -> Questions:
    """The region of each object is asked for the shape of the other. `projection` is that of the training images."""
    V = np.stack([PatchExtractor()(scene.image) for scene in scenes])
    target = np.full(V.shape[:2], NOT_ASKED)
    for row, scene in zip(target, scenes, strict=True):
        row[list(scene.cells)] = CLASSES.index(scene.meaning.other_shape), CLASSES.index(scene.meaning.shape)
    return Questions(V if projection is None else projection.apply(V), np.ones(V.shape[:2], bool), target)


class OneLayer:
    """Equations (1) to (4) and their backward, with Adam."""

    def __init__(self, d_in: int, places: int, rng: np.random.Generator, d: int = 32, heads: int = 2):
        square = {f"attend.{name}_{letter}": wanted for letter in "QKVO"
                  for name, wanted in (("W", Wanted((d, d))), ("b", Wanted((d,), "zeros")))}
        self.heads = heads
        self.parameters = Parameters.draw({
            "enter.W": Wanted((d_in, d)), "enter.b": Wanted((d,), "zeros"), "places.E": Wanted((places, d)), **square,
            "answer.W": Wanted((d, len(CLASSES))), "answer.b": Wanted((len(CLASSES),), "zeros")}, rng)

    def forward(self, X: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, tuple]:
        """p (N, n, classes)."""
        P = self.parameters
        Z, entered = linear(X, **P.under("enter"))
        Z, placed = position_code(Z, P["places.E"])                    # (1)
        H, attended = multi_head_attention(Z, **P.under("attend"), mask=mask, heads=self.heads)     # (2)
        S, answered = linear(H, **P.under("answer"))
        return softmax(S), (entered, placed, attended, answered)       # (3)

    def backward(self, p: np.ndarray, target: np.ndarray, cache: tuple) -> Parameters:
        """The gradient of L (4) for all parameters."""
        entered, placed, attended, answered = cache
        asked = target != NOT_ASKED
        Y = np.eye(len(CLASSES), dtype=p.dtype)[target]
        d_S = np.where(asked[..., None], p - Y, 0) / asked.sum()                                # (4), (3)
        grads = {}
        d_H, grads["answer.W"], grads["answer.b"] = linear_backward(d_S.astype(p.dtype), answered)
        d_Z, *of_attend = multi_head_attention_backward(d_H, attended)                              # (2)
        grads |= zip((name for name in self.parameters if name.startswith("attend.")), of_attend, strict=True)
        d_Z, grads["places.E"] = position_code_backward(d_Z, placed)                                # (1)
        _, grads["enter.W"], grads["enter.b"] = linear_backward(d_Z, entered)
        gradient = self.parameters.zeros_like()
        for name, value in grads.items():
            gradient[name][...] = value
        return gradient

    def train(self, questions: Questions, steps: int, rng: np.random.Generator, batch: int = 64,
              lr: float = 5e-3) -> list[float]:
        """The loss of every step."""
        adam, losses = Adam(self.parameters.flat), []
        for step in range(steps):
            rows = rng.integers(len(questions.X), size=batch)
            X, mask, target = (values[rows] for values in questions)
            p, cache = self.forward(X, mask)
            asked = target != NOT_ASKED
            losses.append(float(-np.log(p[asked, target[asked]] + 1e-9).mean()))                    # (4)
            adam.step(self.parameters.flat, self.backward(p, target, cache).flat, lr * (1 - step / steps))
        return losses

    def share_right(self, questions: Questions) -> float:
        p, _ = self.forward(questions.X, questions.mask)
        asked = questions.target != NOT_ASKED
        return float((p.argmax(axis=-1) == questions.target)[asked].mean())

    def attention(self, X: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """A (N, heads, n, n)."""
        _, (_, _, attended, _) = self.forward(X, mask)
        return attended.attended.A
