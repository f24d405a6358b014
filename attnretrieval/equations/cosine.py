"""L2 normalisation and cosine similarity.

    l2_normalise           (1)  r = 1 / √(X·X + ε)          (..., 1)
                           (2)  X̂ = r X                     (..., d)    length 1, but for ε
    cosine_similarity      (1)  Ĝ_t, Ĝ_v = l2_normalise      (C, d), (I, d)
                           (2)  S = Ĝ_t Ĝ_vᵀ                (C, I)      row = caption, column = image

ε keeps a zero vector at zero, with a finite gradient; for vectors of ordinary length it is below rounding.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import sum_to, swap
from attnretrieval.shapes import check_array, check_same_size

EPS = 1e-12


class L2Cache(NamedTuple):
    X_hat: Array
    r: Array


class L2Grads(NamedTuple):
    d_X: Array


class CosineCache(NamedTuple):
    text: L2Cache
    image: L2Cache


class CosineGrads(NamedTuple):
    d_G_t: Array
    d_G_v: Array


def l2_normalise(X: Array) -> tuple[Array, L2Cache]:
    """X̂ (..., d): every vector along the last axis divided by its length."""
    xp = module_of(X)
    check_array("X", X, min_ndim=1)
    r = 1 / xp.sqrt((X * X).sum(axis=-1, keepdims=True) + EPS)         # (1)
    X_hat = X * r                                                      # (2)
    return X_hat, L2Cache(X_hat, r)


def l2_normalise_backward(d_X_hat: Array, cache: L2Cache) -> L2Grads:
    X_hat, r = cache
    # (2) and (1) together: r depends on every X of the vector, so the part of d_X̂ along X̂ is lost
    d_X = d_X_hat - X_hat * (d_X_hat * X_hat).sum(axis=-1, keepdims=True)
    d_X *= r
    return L2Grads(d_X)


def cosine_similarity(G_t: Array, G_v: Array) -> tuple[Array, CosineCache]:
    """S (..., C, I): the cosine of every caption vector G_t (..., C, d) with every image vector G_v (..., I, d)."""
    module_of(G_t, G_v)
    check_array("G_t", G_t, min_ndim=2)
    check_array("G_v", G_v, min_ndim=2)
    check_same_size("G_t", G_t, -1, "G_v", G_v, -1, "project both to one size first (see linear)")
    G_t_hat, text = l2_normalise(G_t)                                  # (1)
    G_v_hat, image = l2_normalise(G_v)
    return G_t_hat @ swap(G_v_hat), CosineCache(text, image)           # (2)


def cosine_similarity_backward(d_S: Array, cache: CosineCache) -> CosineGrads:
    text, image = cache
    # (2) was S = Ĝ_t Ĝ_vᵀ
    d_G_t_hat = sum_to(d_S @ image.X_hat, text.X_hat.shape)
    d_G_v_hat = sum_to(swap(d_S) @ text.X_hat, image.X_hat.shape)
    # (1) normalised both
    (d_G_t,) = l2_normalise_backward(d_G_t_hat, text)
    (d_G_v,) = l2_normalise_backward(d_G_v_hat, image)
    return CosineGrads(d_G_t, d_G_v)
