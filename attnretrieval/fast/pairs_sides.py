"""What the fused score of all pairs computes once an item, for pairs_fused.py.

    tokens     for the logits: H_t / √d and H_v, or both of length 1 for cosine logits
    base       of the fusion, from the tokens as queries:   H,   H W_1 + b,   or  [-H/2 , -(H W_1 + b)/2]
    values     of the fusion, from the tokens as keys:      H,   H W_2,       or  [ H/2 , -(H W_2)/2]

for add, concat and gate; pairs_add.py and pairs_gate.py show why. W_1 and b belong to the fusion of the tokens' own side, W_2
to that of the other side, which takes them as context.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import L2Cache, l2_normalise, l2_normalise_backward
from attnretrieval.fast.pairs_blocks import Side
from attnretrieval.fast.pairs_packed import BlockSide, lengths_of, pack, real_tokens, unpack

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

OTHER = {"t": "v", "v": "t"}


def prepare(model: Model, side: str, items: Encoded, often: bool) -> Side:
    """The texts (`side` "t") or the images ("v"); `often`: for all pairs of a matrix, whose backward wants values_T."""
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    tokens, normalised = logit_tokens(model, side, H)
    base, values, offset = _maps(model, side, H)
    u = model.parameters.under(f"pool_{side}").get("u")
    values_T = module_of(H).ascontiguousarray(swap(values)) if often else None
    return Side(BlockSide(None, tokens, base, values, values_T, offset, u), lengths, H, rows, items.H.shape, normalised)


def logit_tokens(model: Model, side: str, H: Array) -> tuple[Array, L2Cache | None]:
    """The tokens (R, d) as they enter the logits, and what their backward needs."""
    if model.config.cross_logits == "cosine":
        return l2_normalise(H)
    return H * (1 / math.sqrt(H.shape[-1])) if side == "t" else H, None


def _maps(model: Model, side: str, H: Array) -> tuple[Array, Array, Array | None]:
    """base, values and offset as pairs_add.py and pairs_gate.py want them."""
    if model.config.fusion == "add":
        return H[None], H[None], None
    if model.config.fusion == "concat":
        W_1, b, W_2 = fusion_weights(model.parameters, side)
        return (H @ W_1 + b)[None], (H @ W_2)[None], None
    xp = module_of(H)
    base, values = xp.empty((2, *H.shape), H.dtype), xp.empty((2, *H.shape), H.dtype)
    xp.multiply(H, -0.5, out=base[0])
    xp.multiply(H, 0.5, out=values[0])
    gate_products(model, side, base[0], out=(base[1], values[1]))
    return base, values, H


def gate_products(model: Model, side: str, minus_half: Array, out: tuple[Array, Array]) -> None:
    """-(H W_1 + b)/2 and -(H W_2)/2 of tokens H, given as -H/2 (R, d): all that a gate multiplies with weights."""
    xp = module_of(minus_half)
    W_1, b, W_2 = fusion_weights(model.parameters, side)
    asked, given = out
    xp.matmul(minus_half, W_1, out=asked)
    xp.matmul(minus_half, W_2, out=given)
    asked -= 0.5 * b


def fusion_weights(parameters: Parameters, side: str) -> tuple[Array, Array, Array]:
    """What multiplies these tokens: W_1 and b of their own fusion, and W_2 of the other side's, where they are the context."""
    W, b = parameters[f"fuse_{side}.W"], parameters[f"fuse_{side}.b"]
    return W[: len(b)], b, parameters[f"fuse_{OTHER[side]}.W"][len(b) :]


def prepare_backward(model: Model, side: str, d: BlockSide, forward: Side, gradient: Parameters) -> Array:
    """d_H (N, n, d) from the gradients of what was computed once an item."""
    if forward.cache is not None:
        (d_H,) = l2_normalise_backward(d.tokens, forward.cache)
    else:
        d_H = d.tokens * (1 / math.sqrt(d.tokens.shape[-1])) if side == "t" else d.tokens
    d_H = d_H + _maps_backward(model, side, d, forward.H, gradient)
    if d.u is not None:
        gradient[f"pool_{side}.u"][...] += d.u
    return unpack(d_H, forward.rows, forward.shape)


def _maps_backward(model: Model, side: str, d: BlockSide, H: Array, gradient: Parameters) -> Array:
    d_base, d_values = d.base, d.values
    if model.config.fusion == "add":
        return d_base[0] + d_values[0]
    W_1, _, W_2 = fusion_weights(model.parameters, side)
    d_W_1, d_b, d_W_2 = fusion_weights(gradient, side)
    if model.config.fusion == "concat":
        d_asked, d_given, d_H = d_base[0], d_values[0], 0.0
    else:
        d_asked, d_given = -0.5 * d_base[1], -0.5 * d_values[1]
        d_H = d.offset + 0.5 * (d_values[0] - d_base[0])
    # H W_1 + b was asked, H W_2 was given
    d_W_1 += H.T @ d_asked
    d_W_2 += H.T @ d_given
    d_b += d_asked.sum(axis=0)
    return d_H + d_asked @ W_1.T + d_given @ W_2.T
