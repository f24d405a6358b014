"""What a model is made of, by name: the options of each side, and the chains of steps that they stand for.

`Side` and `ModelConfig` name every option. Their defaults are the lesson: plain self-attention, cross-attention without weights
of its own, F = H + C, the mean of the tokens.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from attnretrieval.equations.fusion import FUSIONS
from attnretrieval.equations.pooling import POOLINGS
from attnretrieval.parameters import Wanted
from attnretrieval.shapes import ShapeError, check_choice, check_range
from attnretrieval.steps import (
    Dropout,
    Embedding,
    FeedForward,
    Norm,
    Positions,
    Projection,
    Residual,
    SelfAttention,
    Step,
)

LOGITS = ("dot", "cosine")
PAIRED_SCORES = ("fused", "token_cosine")


@dataclass(frozen=True)
class Side:
    """The chain of one modality. Everything but plain self-attention is off by default."""

    d_in: int                       # size of a word vector or of a region's features
    project: bool = False           # a linear layer to d first; residuals and positions need it
    positions: int = 0              # number of places with a learnt code; 0 = none
    self_attention: bool = True
    feed_forward: int = 0           # hidden size of the feed-forward sublayer; 0 = none
    residual: bool = False          # X + sublayer(X)
    layer_norm: bool = False        # after each sublayer
    drop_inputs: float = 0.0        # dropout on the inputs
    drop_hidden: float = 0.0        # dropout inside the chain
    pooling: str = "mean"           # one of POOLINGS

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, POOLINGS)
        for name, least in (("d_in", 1), ("positions", 0), ("feed_forward", 0)):
            check_range(name, getattr(self, name), least)
        for name in ("drop_inputs", "drop_hidden"):
            check_range(name, getattr(self, name), 0, 1)


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed, beside the parameters, to build a model again. Goes into the model file as JSON."""

    text: Side
    image: Side
    words: int                      # rows of the word table
    d: int = 64
    heads: int = 4                  # of self-attention
    trained_words: bool = True      # False: the word table is given and stays as it is
    fusion: str = "add"             # one of FUSIONS
    cross_heads: int = 1
    cross_projections: bool = False
    cross_logits: str = "dot"       # one of LOGITS
    cross_scale: float = 8.5        # start of the learnt scale of cosine logits
    paired_score: str = "fused"     # one of PAIRED_SCORES
    temperature: float = 0.07       # start of the learnt temperatures of InfoNCE, alone and paired
    alone_weight: float = 0.0       # of cos(g⁰_t, g⁰_v) in the score of a pair

    def __post_init__(self) -> None:
        check_choice("fusion", self.fusion, FUSIONS)
        check_choice("cross_logits", self.cross_logits, LOGITS)
        check_choice("paired_score", self.paired_score, PAIRED_SCORES)
        for name in ("words", "d", "heads", "cross_heads"):
            check_range(name, getattr(self, name), 1)
        for name, least in (("cross_scale", 1e-6), ("temperature", 1e-6), ("alone_weight", 0)):
            check_range(name, getattr(self, name), least)
        looks = self.text.self_attention or self.image.self_attention
        for name in ("heads", "cross_heads") if looks else ("cross_heads",):
            if self.d % getattr(self, name):
                raise ShapeError(f"{name}={getattr(self, name)} does not divide d={self.d}: a head takes an equal part of it")
        for side in (self.text, self.image):
            if self.paired_score == "token_cosine" and side.pooling == "max":
                raise ShapeError('paired_score="token_cosine" weighs tokens, and max pooling has no weights; '
                                 "choose mean or attention pooling")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ModelConfig:
        return cls(**{**values, "text": Side(**values["text"]), "image": Side(**values["image"])})


def text_chain(config: ModelConfig) -> list[Step]:
    start = [Embedding("words", config.words, config.text.d_in)] if config.trained_words else []
    return start + _chain("text", config.text, config)


def image_chain(config: ModelConfig) -> list[Step]:
    return _chain("image", config.image, config)


def _chain(name: str, side: Side, config: ModelConfig) -> list[Step]:
    d = config.d
    if not side.project and (not side.self_attention or side.positions or side.residual):
        raise ShapeError(f"{name}: without project=True only plain self-attention can bring the inputs to d={d}")
    chain: list[Step] = [Dropout(f"{name}.drop_inputs", side.drop_inputs)]
    if side.project:
        chain += [Projection(f"{name}.project", side.d_in, d)]
    if side.positions:
        chain += [Positions(f"{name}.positions", side.positions, d)]
    sublayers: list[Step] = []
    if side.self_attention:
        sublayers += [SelfAttention(f"{name}.attention", d if side.project else side.d_in, d, config.heads)]
    if side.feed_forward:
        sublayers += [FeedForward(f"{name}.feed_forward", d, side.feed_forward)]
    for sublayer in sublayers:
        if side.residual:
            chain += [Residual(sublayer, side.drop_hidden)]
        else:
            chain += [sublayer, Dropout(f"{sublayer.name}.drop", side.drop_hidden)]
        if side.layer_norm:
            chain += [Norm(f"{sublayer.name}_norm", d)]
    return chain


def wanted_parameters(config: ModelConfig) -> dict[str, Wanted]:
    """Every parameter of the model, by name, in the order of the flat vector."""
    d = config.d
    steps = text_chain(config) + image_chain(config)
    wanted = {f"{step.name}.{name}": want for step in steps for name, want in step.wants.items()}
    for side, options in (("t", config.text), ("v", config.image)):
        if config.fusion in ("concat", "gate"):
            wanted[f"fuse_{side}.W"] = Wanted((2 * d, d))
            wanted[f"fuse_{side}.b"] = Wanted((d,), "zeros")
        if options.pooling == "attention":
            wanted[f"pool_{side}.u"] = Wanted((d,), "small")
    for direction in ("t2v", "v2t"):
        if config.cross_projections:
            wanted |= {f"cross_{direction}.{W}": Wanted((d, d)) for W in ("W_Q", "W_K", "W_V")}
        if config.cross_logits == "cosine":
            wanted[f"cross_{direction}.log_scale"] = Wanted((), "value", math.log(config.cross_scale))
    for loss in ("loss_alone", "loss_paired"):
        wanted[f"{loss}.log_temperature"] = Wanted((), "value", math.log(config.temperature))
    return wanted
