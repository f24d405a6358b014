"""Fusion: a token H and its context C from the other modality become one vector F.

    add      (1)  F = H + C
    concat   (1)  F = [H ; C] W + b                   W (2d, d): its rows split, [H ; C] W = H W_1 + C W_2
    gate     (1)  G = σ([H ; C] W + b)                how much of the token to keep, feature by feature
             (2)  F = G ∘ H + (1 - G) ∘ C

C=None stands for "no other modality": attention over an empty set of keys yields nothing, so C = 0 and its terms go away.
H and C (..., n, d); their leading axes broadcast, so that one text can be fused with its contexts from many images.
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import sum_to
from attnretrieval.equations.linear import LinearCache, linear, linear_backward
from attnretrieval.shapes import check_array, check_same_size, check_shape


class FuseAddCache(NamedTuple):
    H_shape: tuple[int, ...]
    C_shape: tuple[int, ...] | None


class FuseConcatCache(NamedTuple):
    from_H: LinearCache
    from_C: LinearCache | None


class FuseGateCache(NamedTuple):
    H: Array
    C: Array | None
    G: Array
    to_G: FuseConcatCache


class FuseAddGrads(NamedTuple):
    d_H: Array
    d_C: Array | None


class FuseGrads(NamedTuple):
    d_H: Array
    d_C: Array | None
    d_W: Array
    d_b: Array


def _checked(H: Array, C: Array | None) -> None:
    check_array("H", H, min_ndim=2)
    if C is not None:
        check_array("C", C, min_ndim=2)
        check_same_size("H", H, -2, "C", C, -2, "one context a token")
        check_same_size("H", H, -1, "C", C, -1, "token and context share d; project both to one size first (see linear)")


def fuse_add(H: Array, C: Array | None) -> tuple[Array, FuseAddCache]:
    """F (..., n, d) = H + C."""
    module_of(H, C)
    _checked(H, C)
    if C is None:
        return H.copy(), FuseAddCache(H.shape, None)
    return H + C, FuseAddCache(H.shape, C.shape)                       # (1)


def fuse_add_backward(d_F: Array, cache: FuseAddCache) -> FuseAddGrads:
    # (1) was F = H + C: the gradient goes to both, unchanged
    d_H = sum_to(d_F, cache.H_shape)
    d_C = None if cache.C_shape is None else sum_to(d_F, cache.C_shape)
    if d_H is d_F:
        d_H = d_F.copy()
    if d_C is d_F:
        d_C = d_F.copy()
    return FuseAddGrads(d_H, d_C)


def fuse_concat(H: Array, C: Array | None, W: Array, b: Array) -> tuple[Array, FuseConcatCache]:
    """F (..., n, d_out) = [H ; C] W + b, with W (2d, d_out) and b (d_out,)."""
    module_of(H, C, W, b)
    _checked(H, C)
    d = H.shape[-1]
    check_shape("W", W, (2 * d, W.shape[-1]), "one row a feature of H, then one a feature of C")
    F, from_H = linear(H, W[:d], b)
    if C is None:
        return F, FuseConcatCache(from_H, None)
    from_C_product, from_C = linear(C, W[d:])
    return F + from_C_product, FuseConcatCache(from_H, from_C)         # (1)


def fuse_concat_backward(d_F: Array, cache: FuseConcatCache) -> FuseGrads:
    from_H, from_C = cache
    xp = module_of(d_F)
    # (1) was F = H W_1 + C W_2 + b
    d_H, d_W_1, d_b = linear_backward(sum_to(d_F, (*from_H.X.shape[:-1], d_F.shape[-1])), from_H)
    if from_C is None:
        return FuseGrads(d_H, None, xp.concatenate([d_W_1, xp.zeros_like(d_W_1)]), d_b)
    d_C, d_W_2, _ = linear_backward(sum_to(d_F, (*from_C.X.shape[:-1], d_F.shape[-1])), from_C)
    return FuseGrads(d_H, d_C, xp.concatenate([d_W_1, d_W_2]), d_b)


def fuse_gate(H: Array, C: Array | None, W: Array, b: Array) -> tuple[Array, FuseGateCache]:
    """F (..., n, d) = G ∘ H + (1 - G) ∘ C, with W (2d, d) and b (d,) inside the gate."""
    xp = module_of(H, C, W, b)
    U, to_G = fuse_concat(H, C, W, b)
    check_same_size("W", W, -1, "H", H, -1, "one gate a feature")
    # σ(u) = (1 + tanh(u / 2)) / 2 cannot overflow
    G = 0.5 * (1 + xp.tanh(0.5 * U))                                   # (1)
    F = G * H if C is None else G * (H - C) + C                        # (2)
    return F, FuseGateCache(H, C, G, to_G)


def fuse_gate_backward(d_F: Array, cache: FuseGateCache) -> FuseGrads:
    H, C, G, to_G = cache
    # (2) was F = G ∘ H + (1 - G) ∘ C
    d_G = d_F * (H if C is None else H - C)
    d_H = sum_to(d_F * G, H.shape)
    # (1) was G = σ(U), U = [H ; C] W + b
    d_U = d_G * G * (1 - G)
    through_gate = fuse_concat_backward(d_U, to_G)
    d_H += through_gate.d_H
    d_C = None if C is None else sum_to(d_F * (1 - G), C.shape) + through_gate.d_C
    return FuseGrads(d_H, d_C, through_gate.d_W, through_gate.d_b)


FUSIONS = {
    "add": (fuse_add, fuse_add_backward),
    "concat": (fuse_concat, fuse_concat_backward),
    "gate": (fuse_gate, fuse_gate_backward),
}
