"""Layer normalisation over the last axis (Ba, Kiros, Hinton 2016).

    (1)  X̄ = X - mean(X)                  centred       (..., d)
    (2)  r = 1 / √(mean(X̄²) + ε)          1 / deviation (..., 1)
    (3)  Z = r X̄                          normalised    (..., d)
    (4)  Y = gain ∘ Z + bias               output        (..., d)
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import check_array, check_shape


class LayerNormCache(NamedTuple):
    Z: Array
    r: Array
    gain: Array


class LayerNormGrads(NamedTuple):
    d_X: Array
    d_gain: Array
    d_bias: Array


def layer_norm(X: Array, gain: Array, bias: Array, eps: float = 1e-5) -> tuple[Array, LayerNormCache]:
    """Y (..., d) with, row by row, mean `bias` and deviation `gain`."""
    xp = module_of(X, gain, bias)
    check_array("X", X, min_ndim=1)
    d = X.shape[-1]
    check_shape("gain", gain, (d,), "one gain a feature")
    check_shape("bias", bias, (d,), "one bias a feature")
    Z = X - X.mean(axis=-1, keepdims=True)                             # (1)
    r = 1 / xp.sqrt((Z * Z).mean(axis=-1, keepdims=True) + eps)        # (2)
    Z *= r                                                             # (3)
    Y = gain * Z
    Y += bias                                                          # (4)
    return Y, LayerNormCache(Z, r, gain)


def layer_norm_backward(d_Y: Array, cache: LayerNormCache) -> LayerNormGrads:
    Z, r, gain = cache
    d = Z.shape[-1]
    # (4) was Y = gain ∘ Z + bias
    d_bias = d_Y.reshape(-1, d).sum(axis=0)
    d_gain = (d_Y * Z).reshape(-1, d).sum(axis=0)
    d_Z = gain * d_Y
    # (3), (2), (1) together: r and the mean depend on every X of the row, so d_Z loses its part along 1 and along Z
    d_X = d_Z - d_Z.mean(axis=-1, keepdims=True)
    d_X -= Z * (d_Z * Z).mean(axis=-1, keepdims=True)
    d_X *= r
    return LayerNormGrads(d_X, d_gain, d_bias)
