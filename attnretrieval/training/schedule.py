"""The learning rate over a stage: a linear warm-up, then what the name says.

    lr(t) = peak · (t + 1) / warmup                              t < warmup
    constant    lr(t) = peak
    cosine      lr(t) = peak · ½ (1 + cos(π (t - warmup) / (total - warmup)))
"""

from __future__ import annotations

import math


def constant(progress: float) -> float:
    return 1.0


def cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES = {"constant": constant, "cosine": cosine}


def learning_rate(step: int, total: int, peak: float, warmup: int, schedule: str = "cosine") -> float:
    """The rate of step `step` (from 0) out of `total`."""
    warmup = min(warmup, total // 2)    # a short stage warms up for at most half of it
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * SCHEDULES[schedule]((step - warmup) / max(total - warmup, 1))
