"""Linear layer at the start of a chain. Plain: equations/linear.py.

    (1)  Y = X W + b

The inputs of a chain are data: no one asks for their gradient d_X = d_Y Wᵀ, a product as large as the forward. With
`wants_d_X=False` it is left out and d_X is None. The gradient of the bias is 1ᵀ d_Y, a product with ones. The forward is the
plain one, which flattens already.

The gradient of W is a sum over all tokens. Threads that shared the tokens would have to add up several of the size of W; they
share its rows instead: d_W[rows] = X[:, rows]ᵀ d_Y.
"""

from __future__ import annotations

import numpy as np

from attnretrieval.equations.linear import LinearCache, LinearGrads
from attnretrieval.fast.softmax import column_sums
from attnretrieval.fast.threads import parts_of, share


def linear_backward(d_Y: np.ndarray, cache: LinearCache, wants_d_X: bool = True) -> LinearGrads:
    X, W, has_bias = cache
    tokens, d_Y = X.reshape(-1, W.shape[0]), d_Y.reshape(-1, W.shape[1])
    # (1) was Y = X W + b
    d_X = None
    if wants_d_X:
        d_X = np.empty(X.shape, d_Y.dtype)
        flat = d_X.reshape(tokens.shape)
        share(lambda rows: np.matmul(d_Y[rows], W.T, out=flat[rows]), parts_of(tokens))
    d_W = np.empty(W.shape, d_Y.dtype)
    share(lambda rows: np.matmul(tokens[:, rows].T, d_Y, out=d_W[rows]), parts_of(tokens, 1))
    d_b = column_sums(d_Y) if has_bias else None
    return LinearGrads(d_X, d_W, d_b)
