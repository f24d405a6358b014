"""Masked softmax along the last axis, for many short rows. Plain: equations/softmax.py.

    (1)  E_j = exp(S_j) · mask_j          without the maximum, where every |S_j| ≤ 60
    (2)  Z   = E 1                        row sums as a product with ones
    (3)  A   = (1 / Z) E                  one division a row

Subtracting the maximum only guards against overflow, and exp(60) = 10²⁶ is far from it in float32 too, as is a sum of many of
them; exp(-60) is as far from underflow. Neither changes the relative rounding. The maximum of every row costs twice what the
exponential costs (measured on rows of 36 in float32), the least and the largest of the whole array next to nothing. Logits
beyond 60, infinite or NaN go the plain way.

Backward:  d_S = A ∘ (d_A - t),  t = (A ∘ d_A) 1     the same sum as a product with ones
"""

from __future__ import annotations

import numpy as np

from attnretrieval.equations import softmax as plain

RANGE = 60.0


def softmax(S: np.ndarray, mask: np.ndarray | None = None, out: np.ndarray | None = None) -> np.ndarray:
    """Weights A (..., m) from scores S (..., m); `out` may be S itself, which then is overwritten."""
    if S.size == 0 or not (S.max() <= RANGE and S.min() >= -RANGE):
        A = plain.softmax(S, mask)
        return A if out is None else _put(A, out)
    E = np.exp(S, out=out)
    if mask is not None:
        E *= mask                                                      # (1)
    Z = row_sums(E)                                                    # (2)
    if mask is not None:
        Z += Z == 0                                                    # a row with no key
    E *= 1 / Z                                                         # (3)
    return E


def softmax_backward(d_A: np.ndarray, A: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """d_S (..., m); `out` may be d_A itself, which then is overwritten."""
    t = row_sums(d_A * A)
    d_S = np.subtract(d_A, t, out=out)
    d_S *= A
    return d_S


def row_sums(X: np.ndarray) -> np.ndarray:
    """Σ_j X_j (..., 1), in one matrix-vector product."""
    return (X.reshape(-1, X.shape[-1]) @ np.ones(X.shape[-1], X.dtype)).reshape(*X.shape[:-1], 1)


def column_sums(X: np.ndarray) -> np.ndarray:
    """Σ over all rows of X (..., d): (d,), in one vector-matrix product."""
    X = X.reshape(-1, X.shape[-1])
    return np.ones(len(X), X.dtype) @ X


def _put(A: np.ndarray, out: np.ndarray) -> np.ndarray:
    out[...] = A
    return out
