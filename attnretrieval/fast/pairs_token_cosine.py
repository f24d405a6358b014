"""The token-cosine score of all pairs: the fast form of `model.paired` for one head without projections.

It needs no context C. With H the tokens of one side, K those of the other, P their logits before the scale (pairs_attention.py)
and everything that depends on one item only computed once an item:

    (1)  N_ij   = A_ij P_ij
    (2)  Ĥ_i·C_i = x_i Σ_j N_ij y_j             since C_i = Σ_j A_ij K_j and Ĥ_i·K_j = x_i P_ij y_j
    (3)  ‖C_i‖²  = A_i (K Kᵀ) A_iᵀ              n·m·m products instead of n·m·d
    (4)  c_i    = (2) / √((3) + ε)
    (5)  s      = ½ Σ_i a_i c_i + ½ the same of the other direction

Of dot logits P = H Kᵀ/√d, so x = √d / ‖H_i‖ and y = 1; of cosine logits P = Ĥ K̂ᵀ, so x = 1 and y = ‖K_j‖. For the candidates
of a query, each in one pair, K Kᵀ would cost more than it saves: there (3) is taken from C.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import EPS, l2_normalise, l2_normalise_backward
from attnretrieval.fast.pairs_attention import PairAttention
from attnretrieval.fast.pairs_blocks import Kind, Side
from attnretrieval.fast.pairs_packed import Group, lengths_of, pack, real_tokens, segments_of, unpack

if TYPE_CHECKING:
    from attnretrieval.model import Encoded, Model
    from attnretrieval.parameters import Parameters

KEPT_BYTES = 128_000_000


class TokenSide(NamedTuple):
    """What the tokens of one side bring into a block, or the gradients of that."""

    group: Group | None             # None: all items
    tokens: Array                   # (R, d) for the logits
    x: Array                        # (R,) as queries
    y: Array                        # (R,) as keys
    a: Array                        # (R,) the weights of the tokens in the score
    gram: Array | None              # (R, longest): K_i·K_j with the tokens j of the same item; None where they are in few pairs
    H: Array | None                 # (R, d), where there is no gram

    def of(self, group: Group) -> TokenSide:
        """That of one group, as views where its tokens are neighbours."""
        return TokenSide(group, *(None if x is None else x[group.tokens] for x in self[1:]))

    def zeros(self) -> TokenSide:
        """Its gradients before anything was added."""
        return TokenSide(None, *(None if x is None else module_of(x).zeros_like(x) for x in self[1:]))


class Direction(NamedTuple):
    """One direction of a block: queries of a items look at keys of b items."""

    N: Array                        # (R, R_key)
    AG: Array | None                # (R, R_key) A K Kᵀ; None without a gram
    sums: Array                     # (R, b) Σ_j N_ij y_j
    r_C: Array                      # (R, b)
    c: Array                        # (R, b)


def serves(model: Model) -> bool:
    config = model.config
    return model.fast and config.paired_score == "token_cosine" and config.cross_heads == 1 and not config.cross_projections


def token_cosine_score(model: Model, A: PairAttention, t: TokenSide, v: TokenSide):
    """s (a, b) of a texts and b images, and both directions."""
    s_t, t2v = _direction(A.t2v, A.P, t, v)
    s_v, v2t = _direction(swap(A.v2t), swap(A.P), v, t)
    return s_t + s_v.T, (t2v, v2t)


def token_cosine_score_backward(
    model: Model, d_s: Array, kept: tuple[Direction, Direction], A: PairAttention, t: TokenSide, v: TokenSide,
    d_t: TokenSide, d_v: TokenSide,
) -> tuple[Array, Array, Array]:
    """d_A of both directions and d_P; adds the gradients of the sides to d_t and d_v."""
    t2v, v2t = kept
    d_A_t, d_P = _direction_backward(d_s, t2v, A.t2v, A.P, t, v, d_t, d_v)
    d_A_v, d_P_v = _direction_backward(d_s.T, v2t, swap(A.v2t), swap(A.P), v, t, d_v, d_t)
    d_P += swap(d_P_v)
    return d_A_t, swap(d_A_v), d_P


def _direction(A: Array, P: Array, q: TokenSide, k: TokenSide) -> tuple[Array, Direction]:
    """½ Σ_i a_i c_i (a, b) of queries q and keys k."""
    xp = module_of(A)
    N = A * P                                                                          # (1)
    sums = N @ (k.y[:, None] * k.group.member)
    AG = None
    if k.gram is not None:
        AG = xp.empty_like(A)
        for segment in k.group.segments:
            xp.matmul(A[:, segment], _gram(k, segment), out=AG[:, segment])
        squares = (A * AG) @ k.group.member                                            # (3)
    else:
        C = xp.stack([A[:, segment] @ k.H[segment] for segment in k.group.segments], axis=1)
        squares = (C * C).sum(axis=-1)                                                 # (3)
    r_C = 1 / xp.sqrt(squares + EPS)
    c = q.x[:, None] * sums * r_C                                                      # (2), (4)
    return 0.5 * (q.group.member.T @ (q.a[:, None] * c)), Direction(N, AG, sums, r_C, c)  # (5)


def _direction_backward(
    d_s: Array, cache: Direction, A: Array, P: Array, q: TokenSide, k: TokenSide, d_q: TokenSide, d_k: TokenSide
) -> tuple[Array, Array]:
    """d_A and d_P (R, R_key) from d_s (a, b); adds to d_q and d_k what belongs to single items."""
    N, AG, sums, r_C, c = cache
    member = k.group.member
    # (5)
    d_s = 0.5 * (q.group.member @ d_s)
    d_q.a[...] += (d_s * c).sum(axis=1)
    d_c = q.a[:, None] * d_s
    # (4) was c = x sums r_C, r_C = (squares + ε)^(-1/2)
    d_q.x[...] += (d_c * sums * r_C).sum(axis=1)
    d_sums = d_c * r_C * q.x[:, None]
    d_squares = -0.5 * d_c * c * r_C * r_C
    # (3) was squares = Σ_j A_ij (A K Kᵀ)_ij, with a symmetric K Kᵀ
    d_A = (2 * d_squares) @ member.T
    for b, segment in enumerate(k.group.segments):
        _gram(d_k, segment)[...] += swap(A[:, segment]) @ (d_squares[:, b, None] * A[:, segment])
    d_A *= AG
    # (2) was sums = Σ_j N_ij y_j
    d_N = d_sums @ member.T
    d_k.y[...] += (d_N * N).sum(axis=0)
    d_N *= k.y
    # (1) was N = A P
    d_A += d_N * P
    d_N *= A
    return d_A, d_N


def _gram(side: TokenSide, segment: slice) -> Array:
    return side.gram[segment, : segment.stop - segment.start]


# ---- once an item ----------------------------------------------------------------------------------------------------


def prepare(model: Model, name: str, items: Encoded, often: bool) -> Side:
    """The texts (`name` "t") or the images ("v"); the gram where each is in many pairs."""
    xp = module_of(items.H)
    rows, lengths = real_tokens(items.mask), lengths_of(items.mask)
    H = pack(items.H, rows)
    a, weighed = model.token_weights(name, items.H, items.mask)
    if model.config.cross_logits == "cosine":
        tokens, cache = l2_normalise(H)
        y = 1 / cache.r[:, 0]
        x = xp.ones_like(y)
    else:
        scale = math.sqrt(H.shape[-1])
        tokens, cache = H / scale if name == "t" else H, None
        x = scale / xp.sqrt((H * H) @ xp.ones(H.shape[-1], H.dtype) + EPS)
        y = xp.ones_like(x)
    gram = None
    if often:
        gram = xp.zeros((len(H), int(lengths.max(initial=0))), H.dtype)
        for segment in segments_of(lengths):
            gram[segment, : segment.stop - segment.start] = H[segment] @ H[segment].T
    whole = TokenSide(None, tokens, x, y, pack(a[..., None], rows)[:, 0], gram, None if often else H)
    return Side(whole, lengths, H, rows, items.H.shape, (cache, weighed))


def prepare_backward(model: Model, name: str, d: TokenSide, side: Side, gradient: Parameters) -> Array:
    """d_H (N, n, d) from the gradients of what was computed once an item."""
    H = side.H
    cache, weighed = side.cache
    if model.config.cross_logits == "cosine":
        (d_H,) = l2_normalise_backward(d.tokens, cache)
        d_H += d.y[:, None] * cache.X_hat                              # y was ‖H_i‖ = √(H·H + ε)
    else:
        scale = math.sqrt(H.shape[-1])
        d_H = d.tokens / scale if name == "t" else d.tokens
        x = side.whole.x
        d_H -= (d.x * x * x * x / scale**2)[:, None] * H               # x was √d / √(H·H + ε)
    for segment in segments_of(side.lengths):
        d_gram = _gram(d, segment)
        d_H[segment] += (d_gram + d_gram.T) @ H[segment]
    d_H = unpack(d_H, side.rows, side.shape)
    d_a = unpack(d.a[:, None], side.rows, (*side.shape[:-1], 1))[..., 0]
    return d_H + model.token_weights_backward(name, d_a, weighed, gradient)


TOKEN_COSINE = Kind(prepare, token_cosine_score, token_cosine_score_backward, prepare_backward, lambda model: KEPT_BYTES)
