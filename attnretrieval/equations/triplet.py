"""Triplet loss with a margin (Kiros et al. 2014; hardest negatives: Faghri et al. 2018, "VSE++").

For every positive pair (caption c, image i) and every negative of it, in both directions:

    (1)  V_ij = max(0, margin + S_cj - S_ci)        caption c, another image j that c does not describe
         U_ik = max(0, margin + S_ki - S_ci)        image i, a caption k of another image
    (2)  L = Σ V + Σ U, divided by the number of positive pairs

What the sum runs over is chosen by name: `violations`

    "sum"       every negative
    "hardest"   for each positive pair the negative that violates most, one in each direction
    "mean"      every negative, the sums divided by the number of negatives: gentle, for the first epochs, where
                "hardest" from the start collapses all vectors into one point

A caption of the same image is never a negative, whatever its score: `positives` says which pairs are right. Kinks: the hinge at
0 (gradient 0 there) and the choice of the hardest negative (the first, where two tie).
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import check_choice, check_positives

VIOLATIONS = ("sum", "hardest", "mean")


class TripletCache(NamedTuple):
    d_S: Array                  # dL/dS: the loss is piecewise linear, its gradient is found on the way


class TripletGrads(NamedTuple):
    d_S: Array


def triplet_loss(
    S: Array, positives: Array, margin: float = 0.2, violations: str = "sum"
) -> tuple[Array, TripletCache]:
    """L, an array of no axes, from scores S (C, I); `positives` (C, I) is True where the caption describes the image."""
    xp = module_of(S, positives)
    check_positives(S, positives)
    check_choice("violations", violations, VIOLATIONS)
    pairs = int(positives.sum())
    loss, d_S = _one_direction(xp, S, positives, margin, violations)   # captions choose among images
    loss_T, d_S_T = _one_direction(xp, S.T, positives.T, margin, violations)  # images choose among captions
    return (loss + loss_T) / pairs, TripletCache((d_S + d_S_T.T) / pairs)     # (2)


def triplet_loss_backward(d_L: Array, cache: TripletCache) -> TripletGrads:
    # (2) and (1) were taken apart in the forward: every active hinge pushes its negative down and its positive up by 1
    return TripletGrads(d_L * cache.d_S)


def _one_direction(xp, S: Array, positives: Array, margin: float, violations: str) -> tuple[Array, Array]:
    """The sum of the violations along the rows, and its gradient.

    Every row holds a few positives; looping over "the r-th positive of each row" keeps the memory at the size of S.
    """
    weight = xp.ones(S.shape[0], S.real.dtype)
    if violations == "mean":
        weight = 1 / xp.maximum((~positives).sum(axis=1), 1).astype(S.real.dtype)
    rows = xp.arange(S.shape[0])
    rank = positives.cumsum(axis=1) * positives                        # 1 at a row's first positive, 2 at its second, ...
    loss = S.sum() * 0
    d_S = xp.zeros(S.shape, S.real.dtype)
    for r in range(1, int(rank.max()) + 1):
        here = (rank == r).any(axis=1)
        column = (rank == r).argmax(axis=1)
        V = margin + S - S[rows, column][:, None]                      # (1)
        active = (V.real > 0) & ~positives & here[:, None]
        if violations == "hardest":
            worst = xp.where(active, V.real, -xp.inf).argmax(axis=1)
            active &= xp.arange(S.shape[1]) == worst[:, None]
        weighted = active * weight[:, None]
        loss = loss + (V * weighted).sum()
        d_S += weighted
        d_S -= (rank == r) * weighted.sum(axis=1)[:, None]
    return loss, d_S
