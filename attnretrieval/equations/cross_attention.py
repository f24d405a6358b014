"""Cross-attention: the tokens of one modality look at the tokens of the other.

    (1)  A = softmax(H H_otherᵀ / √d)       (..., n, m)     who looks at whom
    (2)  C = A H_other                      (..., n, d)     what each token found: its context

With H the words and H_other the regions this is A_t2v and C_t; the other way round it is A_v2t and C_v. This is the plain
equation, the default. By name, each off by default:

    W_Q, W_K, W_V    Q = H W_Q, K = H_other W_K, V = H_other W_V instead of H, H_other, H_other
    heads            h attentions side by side, each over d / h features and scaled by 1/√(d/h)
    log_scale        cosine logits: S = exp(log_scale) · Q̂ K̂ᵀ with Q̂, K̂ of length 1 in each head, instead of Q Kᵀ/√d;
                     exp(log_scale) is a learnt inverse temperature
"""

from __future__ import annotations

from typing import NamedTuple

from attnretrieval.backend import Array, module_of
from attnretrieval.equations.attention import AttentionCache, attention, attention_backward
from attnretrieval.equations.axes import sum_to, swap
from attnretrieval.equations.cosine import L2Cache, l2_normalise, l2_normalise_backward
from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.equations.linear import LinearCache, linear, linear_backward
from attnretrieval.equations.softmax import softmax, softmax_backward
from attnretrieval.shapes import check_array, check_mask, check_same_size, check_shape


class CosineAttentionCache(NamedTuple):
    Q: L2Cache
    K: L2Cache
    V: Array
    A: Array
    cosines: Array              # Q̂ K̂ᵀ
    scale: Array                # exp(log_scale)


class CosineAttentionGrads(NamedTuple):
    d_Q: Array
    d_K: Array
    d_V: Array
    d_log_scale: Array


class CrossAttentionCache(NamedTuple):
    to_Q: LinearCache | None
    to_K: LinearCache | None
    to_V: LinearCache | None
    attended: AttentionCache | CosineAttentionCache
    heads: int

    @property
    def A(self) -> Array:
        """The attention weights (..., h, n, m): what the figures draw."""
        return self.attended.A


class CrossAttentionGrads(NamedTuple):
    d_H: Array
    d_H_other: Array
    d_W_Q: Array | None
    d_W_K: Array | None
    d_W_V: Array | None
    d_log_scale: Array | None


def cosine_attention(
    Q: Array, K: Array, V: Array, log_scale: Array, key_mask: Array | None = None
) -> tuple[Array, CosineAttentionCache]:
    """As `attention`, with logits exp(log_scale) · Q̂ K̂ᵀ; `log_scale` is an array of no axes."""
    xp = module_of(Q, K, V, log_scale, key_mask)
    for name, X in (("Q", Q), ("K", K), ("V", V)):
        check_array(name, X, min_ndim=2)
    check_same_size("Q", Q, -1, "K", K, -1, "queries and keys share d_k; project both to one size first (see linear)")
    check_same_size("K", K, -2, "V", V, -2, "one value a key")
    check_shape("log_scale", log_scale, ())
    Q_hat, Q_cache = l2_normalise(Q)
    K_hat, K_cache = l2_normalise(K)
    cosines = Q_hat @ swap(K_hat)
    scale = xp.exp(log_scale)
    A = softmax(scale * cosines, None if key_mask is None else key_mask[..., None, :])
    return A @ V, CosineAttentionCache(Q_cache, K_cache, V, A, cosines, scale)


def cosine_attention_backward(d_Y: Array, cache: CosineAttentionCache) -> CosineAttentionGrads:
    Q_cache, K_cache, V, A, cosines, scale = cache
    # Y was A V
    d_A = d_Y @ swap(V)
    d_V = sum_to(swap(A) @ d_Y, V.shape)
    # A was softmax(S), S = exp(log_scale) · cosines
    d_S = softmax_backward(d_A, A)
    d_log_scale = (d_S * cosines).sum() * scale
    d_S *= scale
    # cosines was Q̂ K̂ᵀ
    (d_Q,) = l2_normalise_backward(sum_to(d_S @ K_cache.X_hat, Q_cache.X_hat.shape), Q_cache)
    (d_K,) = l2_normalise_backward(sum_to(swap(d_S) @ Q_cache.X_hat, K_cache.X_hat.shape), K_cache)
    return CosineAttentionGrads(d_Q, d_K, d_V, d_log_scale.reshape(()))


def cross_attention(
    H: Array, H_other: Array, key_mask: Array | None = None,
    W_Q: Array | None = None, W_K: Array | None = None, W_V: Array | None = None,
    log_scale: Array | None = None, heads: int = 1,
) -> tuple[Array, CrossAttentionCache]:
    """C (..., n, d): for every token of H (..., n, d) what it found among the tokens of H_other (..., m, d).

    `key_mask` (..., m), True = a real token of H_other. Leading axes broadcast: H (N_t, 1, n, d) with H_other
    (N_v, m, d) is every text with every image. A token with nothing to look at gets context 0.
    """
    module_of(H, H_other, key_mask, W_Q, W_K, W_V, log_scale)
    check_array("H", H, min_ndim=2)
    check_array("H_other", H_other, min_ndim=2)
    check_same_size("H", H, -1, "H_other", H_other, -1, "project both to one size first (see linear)")
    check_mask("key_mask", key_mask, H_other.shape[:-1])
    Q, to_Q = (H, None) if W_Q is None else linear(H, W_Q)
    K, to_K = (H_other, None) if W_K is None else linear(H_other, W_K)
    V, to_V = (H_other, None) if W_V is None else linear(H_other, W_V)
    Q, K, V = (split_heads(X, heads) for X in (Q, K, V))
    mask = None if key_mask is None else key_mask[..., None, :]        # the same keys in every head
    if log_scale is None:
        Y, attended = attention(Q, K, V, mask)                         # (1), (2)
    else:
        Y, attended = cosine_attention(Q, K, V, log_scale, mask)
    return join_heads(Y), CrossAttentionCache(to_Q, to_K, to_V, attended, heads)


def cross_attention_backward(d_C: Array, cache: CrossAttentionCache) -> CrossAttentionGrads:
    to_Q, to_K, to_V, attended, heads = cache
    d_log_scale = None
    if isinstance(attended, AttentionCache):
        d_Q, d_K, d_V = attention_backward(split_heads(d_C, heads), attended)
    else:
        d_Q, d_K, d_V, d_log_scale = cosine_attention_backward(split_heads(d_C, heads), attended)
    d_Q, d_K, d_V = join_heads(d_Q), join_heads(d_K), join_heads(d_V)
    d_H, d_W_Q = _undo(d_Q, to_Q)
    d_H_other, d_W_K = _undo(d_K, to_K)
    # H_other went two ways, as keys and as values
    d_H_other_V, d_W_V = _undo(d_V, to_V)
    d_H_other = d_H_other + d_H_other_V
    return CrossAttentionGrads(d_H, d_H_other, d_W_Q, d_W_K, d_W_V, d_log_scale)


def _undo(d_Y: Array, projection: LinearCache | None) -> tuple[Array, Array | None]:
    """The gradients of X and W where Y was X W, or of X alone where Y was X."""
    if projection is None:
        return d_Y, None
    d_X, d_W, _ = linear_backward(d_Y, projection)
    return d_X, d_W
