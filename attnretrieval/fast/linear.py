"""Linear layer at the start of a chain. Plain: equations/linear.py.

    (1)  Y = X W + b

The inputs of a chain are data: no one asks for their gradient d_X = d_Y Wᵀ, a product as large as the forward. With
`wants_d_X=False` it is left out and d_X is None. The gradient of the bias is 1ᵀ d_Y, a product with ones. The forward is the
plain one, which flattens already.
"""

from __future__ import annotations

import numpy as np

from attnretrieval.equations.linear import LinearCache, LinearGrads
from attnretrieval.fast.softmax import column_sums


def linear_backward(d_Y: np.ndarray, cache: LinearCache, wants_d_X: bool = True) -> LinearGrads:
    X, W, has_bias = cache
    d_Y = d_Y.reshape(-1, W.shape[1])
    # (1) was Y = X W + b
    d_X = (d_Y @ W.T).reshape(X.shape) if wants_d_X else None
    d_W = X.reshape(-1, W.shape[0]).T @ d_Y
    d_b = column_sums(d_Y) if has_bias else None
    return LinearGrads(d_X, d_W, d_b)
