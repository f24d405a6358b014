"""The objective: L = L_alone + λ · L_paired over one batch.

    (1)  texts, images = each by itself                      H, g⁰
    (2)  S⁰ = cosine(g⁰_t, g⁰_v)                             (C, I)
    (3)  L_alone = loss(S⁰)
    (4)  S = s(t, v), all pairs of the paired captions       (P, I), only where λ > 0
    (5)  L_paired = loss(S)

`loss` is InfoNCE, with a learnt temperature for each of the two scores, or the triplet loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attnretrieval.all_pairs import score_matrix_backward, score_matrix_forward
from attnretrieval.backend import Array, module_of, scatter_add
from attnretrieval.equations.cosine import cosine_similarity, cosine_similarity_backward
from attnretrieval.equations.info_nce import info_nce, info_nce_backward
from attnretrieval.equations.triplet import VIOLATIONS, TripletCache, triplet_loss, triplet_loss_backward
from attnretrieval.model import Model
from attnretrieval.parameters import Parameters
from attnretrieval.shapes import check_choice

LOSSES = ("info_nce", "triplet")


@dataclass(frozen=True)
class Objective:
    loss: str = "info_nce"          # one of LOSSES
    margin: float = 0.2             # of the triplet loss
    violations: str = "sum"         # of the triplet loss, one of VIOLATIONS
    paired_weight: float = 0.0      # λ

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        check_choice("violations", self.violations, VIOLATIONS)


class Batch(NamedTuple):
    ids: Array                      # (C, n) words
    word_mask: Array                # (C, n)
    regions: Array                  # (I, m, d_v)
    region_mask: Array | None       # (I, m)
    positives: Array                # (C, I) True where the caption describes the image
    paired: Array | None = None     # (P,) the captions that take part in the paired term; None = all


class Losses(NamedTuple):
    total: Array
    alone: Array
    paired: Array | None


class ObjectiveCache(NamedTuple):
    tape_t: Any
    tape_v: Any
    cosines: Any
    alone: Any
    matrix: Any
    paired: Any
    captions: Array | None


def objective_forward(
    model: Model, batch: Batch, objective: Objective, rng: np.random.Generator | None = None
) -> tuple[Losses, ObjectiveCache]:
    """The losses of a batch; `rng` draws the dropout, None = no dropout."""
    texts, tape_t = model.forward_text(batch.ids, batch.word_mask, rng)             # (1)
    images, tape_v = model.forward_image(batch.regions, batch.region_mask, rng)
    S, cosines = cosine_similarity(texts.g, images.g)                               # (2)
    alone, alone_cache = _contrast(model, "loss_alone", S, batch.positives, objective)  # (3)
    if not objective.paired_weight:
        return Losses(alone, alone, None), ObjectiveCache(tape_t, tape_v, cosines, alone_cache, None, None, None)
    captions, positives = batch.paired, batch.positives
    if captions is not None:
        texts, positives = texts.take(captions), positives[captions]
    S, matrix = score_matrix_forward(model, texts, images)                          # (4)
    paired, paired_cache = _contrast(model, "loss_paired", S, positives, objective)  # (5)
    total = alone + objective.paired_weight * paired
    return Losses(total, alone, paired), ObjectiveCache(
        tape_t, tape_v, cosines, alone_cache, matrix, paired_cache, captions)


def objective_backward(model: Model, cache: ObjectiveCache, objective: Objective, gradient: Parameters) -> None:
    """Add dL/dparameter to `gradient`, for every parameter."""
    d_H_t = d_H_v = None
    # (3), (2)
    d_S = _contrast_backward("loss_alone", 1.0, cache.alone, gradient)
    d_g_t, d_g_v = cosine_similarity_backward(d_S, cache.cosines)
    if cache.matrix is not None:
        # (5), (4)
        d_S = _contrast_backward("loss_paired", objective.paired_weight, cache.paired, gradient)
        grads = score_matrix_backward(model, d_S, cache.matrix, gradient)
        d_H_v = grads.d_H_v
        d_H_t = _spread(grads.d_H_t, cache.captions, len(d_g_t))
        if grads.d_g_t is not None:
            d_g_t += _spread(grads.d_g_t, cache.captions, len(d_g_t))
            d_g_v += grads.d_g_v
    # (1)
    model.backward_text(d_H_t, d_g_t, cache.tape_t, gradient)
    model.backward_image(d_H_v, d_g_v, cache.tape_v, gradient)


def _spread(d_some: Array, captions: Array | None, count: int) -> Array:
    """Gradients of the paired captions, put where these captions stand among all; the others get 0."""
    if captions is None:
        return d_some
    xp = module_of(d_some)
    d_all = xp.zeros((count, *d_some.shape[1:]), d_some.dtype)
    scatter_add(d_all, captions, d_some)
    return d_all


def _contrast(model: Model, name: str, S: Array, positives: Array, objective: Objective):
    if objective.loss == "info_nce":
        return info_nce(S, model.parameters[f"{name}.log_temperature"], positives)
    return triplet_loss(S, positives, objective.margin, objective.violations)


def _contrast_backward(name: str, d_L: float, cache: Any, gradient: Parameters) -> Array:
    if isinstance(cache, TripletCache):
        return triplet_loss_backward(d_L, cache).d_S
    grads = info_nce_backward(d_L, cache)
    gradient[f"{name}.log_temperature"][...] += grads.d_log_temperature
    return grads.d_S
