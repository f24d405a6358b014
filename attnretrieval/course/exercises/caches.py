"""What the cache of a backward holds, as its exercise promises it."""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array


class LinearCache(NamedTuple):
    X: Array
    W: Array


class GateCache(NamedTuple):
    H: Array
    C: Array
    W: Array
    G: Array            # the gate, (..., n, d)


class MeanCache(NamedTuple):
    F: Array
    mask: Array


class CosineCache(NamedTuple):
    T_hat: Array        # (C, d), captions of length 1
    V_hat: Array        # (I, d), images of length 1
    r_t: Array          # (C, 1), 1 / length
    r_v: Array          # (I, 1)


class NCECache(NamedTuple):
    S: Array
    tau: Array
    positives: Array
    P: Array            # (C, I), rows sum to 1
    R: Array            # (C, I), columns sum to 1
