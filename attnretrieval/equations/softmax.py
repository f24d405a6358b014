"""Masked softmax along the last axis.

    (1)  E_j = exp(S_j - max S) · mask_j     the largest exponent is 0: no overflow
    (2)  A_j = E_j / Σ_k E_k                 weights   (..., m)    a row sums to 1

Subtracting the maximum changes nothing: numerator and denominator are divided by the same exp(max S). A masked entry gets
weight exactly 0; a row in which nothing is left gets weights 0, never NaN.

Backward: with A from (2), dA_j/dS_k = A_j (δ_jk - A_k), so

    d_S = A ∘ (d_A - Σ_k d_A_k A_k)
"""

from __future__ import annotations

from attnretrieval.backend import Array, module_of
from attnretrieval.shapes import check_array, check_mask


def softmax(S: Array, mask: Array | None = None) -> Array:
    """Weights A (..., m) from scores S (..., m); `mask` (True = real) broadcasts to S."""
    xp = module_of(S, mask)
    check_array("S", S, min_ndim=1)
    check_mask("mask", mask, S.shape)
    if S.shape[-1] == 0:
        return S.copy()
    if mask is None:
        E = S - S.real.max(axis=-1, keepdims=True)
        E = xp.exp(E, out=E)                                           # (1)
    else:
        top = xp.where(mask, S.real, -xp.inf).max(axis=-1, keepdims=True)
        top = xp.where(top == -xp.inf, xp.zeros_like(top), top)        # a row with no key
        E = xp.where(mask, S, top) - top
        E = xp.exp(E, out=E)
        E *= mask                                                      # (1)
    Z = E.sum(axis=-1, keepdims=True)
    Z += Z == 0
    E /= Z                                                             # (2)
    return E


def softmax_backward(d_A: Array, A: Array) -> Array:
    """d_S (..., m). Where A is 0 (a masked entry) d_S is exactly 0."""
    d_S = d_A * A
    d_S -= A * d_S.sum(axis=-1, keepdims=True)
    return d_S
