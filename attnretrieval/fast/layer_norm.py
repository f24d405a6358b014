"""Layer normalisation over the last axis, its sums as products. Plain: equations/layer_norm.py.

    (1)  X̄ = X - (X 1) / d
    (2)  r = 1 / √((X̄ · X̄) / d + ε)       a dot product a row
    (3)  Z = r X̄
    (4)  Y = gain ∘ Z + bias

Backward: with d_Z = gain ∘ d_Y and P = d_Y ∘ Z, all four sums that it needs are products with P or d_Y:

    d_bias = 1ᵀ d_Y                 d_gain = 1ᵀ P
    Σ_k d_Z_k = d_Y · gain          Σ_k d_Z_k Z_k = P · gain

    d_X = r (d_Z - (d_Y · gain) / d - Z (P · gain) / d)
"""

from __future__ import annotations

import numpy as np

from attnretrieval.equations.layer_norm import LayerNormCache, LayerNormGrads
from attnretrieval.fast.softmax import column_sums, row_sums
from attnretrieval.shapes import check_array, check_shape


def layer_norm(X: np.ndarray, gain: np.ndarray, bias: np.ndarray, eps: float = 1e-5) -> tuple[np.ndarray, LayerNormCache]:
    """Y (..., d) with, row by row, mean `bias` and deviation `gain`."""
    check_array("X", X, min_ndim=1)
    d = X.shape[-1]
    check_shape("gain", gain, (d,), "one gain a feature")
    check_shape("bias", bias, (d,), "one bias a feature")
    Z = X - row_sums(X) / d                                            # (1)
    r = 1 / np.sqrt(np.vecdot(Z, Z)[..., None] / d + eps)              # (2)
    Z *= r                                                             # (3)
    Y = gain * Z
    Y += bias                                                          # (4)
    return Y, LayerNormCache(Z, r, gain)


def layer_norm_backward(d_Y: np.ndarray, cache: LayerNormCache) -> LayerNormGrads:
    Z, r, gain = cache
    d = Z.shape[-1]
    P = d_Y * Z
    # (4) was Y = gain ∘ Z + bias
    d_bias, d_gain = column_sums(d_Y), column_sums(P)
    along_1, along_Z = (d_Y @ gain)[..., None], (P @ gain)[..., None]
    # (3), (2), (1) together; P has done its work and lends its memory
    d_X = gain * d_Y
    d_X -= np.multiply(Z, along_Z / d, out=P)
    d_X -= along_1 / d
    d_X *= r
    return LayerNormGrads(d_X, d_gain, d_bias)
