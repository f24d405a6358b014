"""Symmetric InfoNCE (van den Oord et al. 2018; both directions: Radford et al. 2021, "CLIP").

    (1)  Z = S / τ, τ = exp(log_temperature), held within τ_min … τ_max         (C, I)
    (2)  P = softmax(Z) along the images; R = softmax(Zᵀ) along the captions
    (3)  L_t = mean over captions of  - Σ_i Y_ci log P_ci       Y: 1 / (number of right images) on each right image
         L_v = mean over images of    - Σ_c X_ic log R_ic       X: 1 / (number of right captions) on each right caption
    (4)  L = (L_t + L_v) / 2

With several captions of one image in a batch the target is shared among them (multi-positive): none is a negative of another.
With k captions of every image L cannot fall below ½ log k: the best R gives each of the k captions 1/k.
A row without a right answer in the batch takes no part in the mean. Where the temperature is held at an end of its range its
gradient is 0.

Backward of (2) and (3) together, since the targets of a row sum to 1:   d_Z = (P - Y) / C   and   (R - X) / I.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import check_positives, check_shape

TEMPERATURE_RANGE = (0.01, 1.0)


class InfoNCECache(NamedTuple):
    S: Array
    d_Z: Array                  # dL/dZ
    tau: Array
    free: bool                  # False where the temperature is held at an end of its range


class InfoNCEGrads(NamedTuple):
    d_S: Array
    d_log_temperature: Array


def info_nce(
    S: Array, log_temperature: Array, positives: Array, temperature_range: tuple[float, float] = TEMPERATURE_RANGE
) -> tuple[Array, InfoNCECache]:
    """L, an array of no axes, from scores S (C, I) and `log_temperature` (no axes).

    `positives` (C, I) is True where the caption describes the image.
    """
    xp = module_of(S, log_temperature, positives)
    check_positives(S, positives)
    check_shape("log_temperature", log_temperature, ())
    low, high = (math.log(t) for t in temperature_range)
    at = float(log_temperature.real)
    free = low < at < high
    held = log_temperature if free else log_temperature * 0 + min(max(at, low), high)
    tau = xp.exp(held)
    Z = S / tau                                                        # (1)
    L_t, d_Z_t = _one_direction(xp, Z, positives)                      # (2), (3)
    L_v, d_Z_v = _one_direction(xp, Z.T, positives.T)
    d_Z = (d_Z_t + d_Z_v.T) / 2
    return (L_t + L_v) / 2, InfoNCECache(S, d_Z, tau, free)            # (4)


def info_nce_backward(d_L: Array, cache: InfoNCECache) -> InfoNCEGrads:
    S, d_Z, tau, free = cache
    # (4), (3), (2) gave d_Z
    d_S = d_L * d_Z / tau                                              # (1) was Z = S / τ
    # τ = exp(l): dZ/dl = - S / τ
    d_log_temperature = -(d_S * S).sum() if free else d_S.sum() * 0
    return InfoNCEGrads(d_S, d_log_temperature.reshape(()))


def _one_direction(xp, Z: Array, positives: Array) -> tuple[Array, Array]:
    """The mean over rows of the cross-entropy between targets and softmax(Z), and its gradient (P - Y) / rows."""
    counts = positives.sum(axis=1, keepdims=True)
    Y = positives / xp.maximum(counts, 1).astype(Z.real.dtype)
    answered = counts > 0
    rows = int(answered.sum())
    Z = Z - Z.real.max(axis=1, keepdims=True)
    E = xp.exp(Z)
    total = E.sum(axis=1, keepdims=True)
    log_P = Z - xp.log(total)
    d_Z = (E / total - Y) * answered
    d_Z /= rows
    return -(Y * log_P).sum() / rows, d_Z
