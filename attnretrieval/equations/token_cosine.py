"""The cosine of each token with its own context: how well the other modality can rebuild the token.

    (1)  Ĥ, Ĉ = l2_normalise(H), l2_normalise(C)      (..., n, d)
    (2)  c_i = Ĥ_i · Ĉ_i                              (..., n)

Pooled over the tokens it is a score of the pair that needs no fusion (after Lee et al. 2018, "Stacked Cross Attention").
H and C broadcast, so that one text can be compared with its contexts from many images.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import sum_to
from attnretrieval.equations.cosine import L2Cache, l2_normalise, l2_normalise_backward
from attnretrieval.shapes import check_array, check_same_size


class TokenCosineCache(NamedTuple):
    token: L2Cache
    context: L2Cache


class TokenCosineGrads(NamedTuple):
    d_H: Array
    d_C: Array


def token_cosine(H: Array, C: Array) -> tuple[Array, TokenCosineCache]:
    """c (..., n) from tokens H (..., n, d) and their contexts C (..., n, d)."""
    module_of(H, C)
    check_array("H", H, min_ndim=2)
    check_array("C", C, min_ndim=2)
    check_same_size("H", H, -2, "C", C, -2, "one context a token")
    check_same_size("H", H, -1, "C", C, -1, "token and context share d; project both to one size first (see linear)")
    H_hat, token = l2_normalise(H)                                     # (1)
    C_hat, context = l2_normalise(C)
    return (H_hat * C_hat).sum(axis=-1), TokenCosineCache(token, context)  # (2)


def token_cosine_backward(d_c: Array, cache: TokenCosineCache) -> TokenCosineGrads:
    token, context = cache
    # (2) was c_i = Ĥ_i · Ĉ_i
    d_H_hat = sum_to(d_c[..., None] * context.X_hat, token.X_hat.shape)
    d_C_hat = sum_to(d_c[..., None] * token.X_hat, context.X_hat.shape)
    # (1) normalised both
    (d_H,) = l2_normalise_backward(d_H_hat, token)
    (d_C,) = l2_normalise_backward(d_C_hat, context)
    return TokenCosineGrads(d_H, d_C)
