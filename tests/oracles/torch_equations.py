"""Every equation once more in PyTorch, whose autograd derives the gradients that ours are compared with.

One function an equation, under the name and with the arguments that it has in `CASES`. Where torch has the equation itself, it
is called: scaled_dot_product_attention, layer_norm, cross_entropy, embedding, margin_ranking_loss and so on. Nothing of the
package is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-12                         # under the root of l2_normalise


# ---- steps inside a modality -----------------------------------------------------------------------------------------


def softmax(S: Tensor, mask: Tensor | None = None) -> Tensor:
    if mask is None:
        return torch.softmax(S, dim=-1)
    A = torch.softmax(S.masked_fill(~mask, -math.inf), dim=-1)
    return A.where(mask, 0)                                            # torch's rows with nothing left are NaN


def linear(X: Tensor, W: Tensor, b: Tensor | None = None) -> Tensor:
    return functional.linear(X, W.T, b)                                # torch keeps W as (d_out, d_in)


def attention(Q: Tensor, K: Tensor, V: Tensor, key_mask: Tensor | None = None) -> Tensor:
    return functional.scaled_dot_product_attention(Q, K, V, _for_each_query(key_mask))


def split_heads(X: Tensor, heads: int) -> Tensor:
    return X.unflatten(-1, (heads, -1)).transpose(-2, -3)


def join_heads(X: Tensor) -> Tensor:
    return X.transpose(-2, -3).flatten(-2)


def multi_head_attention(
    X: Tensor, W_Q: Tensor, b_Q: Tensor, W_K: Tensor, b_K: Tensor, W_V: Tensor, b_V: Tensor, W_O: Tensor, b_O: Tensor,
    mask: Tensor | None = None, heads: int = 1,
) -> Tensor:
    Q, K, V = (split_heads(linear(X, W, b), heads) for W, b in ((W_Q, b_Q), (W_K, b_K), (W_V, b_V)))
    return linear(join_heads(attention(Q, K, V, _for_each_head(mask))), W_O, b_O)


def feed_forward(X: Tensor, W_1: Tensor, b_1: Tensor, W_2: Tensor, b_2: Tensor) -> Tensor:
    return linear(functional.relu(linear(X, W_1, b_1)), W_2, b_2)


def layer_norm(X: Tensor, gain: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    return functional.layer_norm(X, gain.shape, gain, bias, eps)


def position_code(X: Tensor, E: Tensor) -> Tensor:
    return X + functional.embedding(torch.arange(X.shape[-2]), E)


def embedding(E: Tensor, ids: Tensor) -> Tensor:
    return functional.embedding(ids, E)


def dropout(X: Tensor, keep: Tensor) -> Tensor:
    return X * keep                                                    # torch's own draws its mask by itself


# ---- steps across modalities -----------------------------------------------------------------------------------------


def l2_normalise(X: Tensor) -> Tensor:
    """rms_norm is X / √(mean(X²) + ε). `functional.normalize` has no ε under the root: it differs at a zero vector."""
    d = X.shape[-1]
    return functional.rms_norm(X, (d,), eps=EPS / d) / math.sqrt(d)


def cosine_attention(Q: Tensor, K: Tensor, V: Tensor, log_scale: Tensor, key_mask: Tensor | None = None) -> Tensor:
    Q, K = log_scale.exp() * l2_normalise(Q), l2_normalise(K)
    return functional.scaled_dot_product_attention(Q, K, V, _for_each_query(key_mask), scale=1.0)


def cross_attention(
    H: Tensor, H_other: Tensor, key_mask: Tensor | None = None,
    W_Q: Tensor | None = None, W_K: Tensor | None = None, W_V: Tensor | None = None,
    log_scale: Tensor | None = None, heads: int = 1,
) -> Tensor:
    Q, K, V = (split_heads(X if W is None else X @ W, heads) for X, W in ((H, W_Q), (H_other, W_K), (H_other, W_V)))
    mask = _for_each_head(key_mask)
    return join_heads(attention(Q, K, V, mask) if log_scale is None else cosine_attention(Q, K, V, log_scale, mask))


def fuse_add(H: Tensor, C: Tensor | None) -> Tensor:
    return H + _context(H, C)


def fuse_concat(H: Tensor, C: Tensor | None, W: Tensor, b: Tensor) -> Tensor:
    return linear(torch.cat(torch.broadcast_tensors(H, _context(H, C)), dim=-1), W, b)


def fuse_gate(H: Tensor, C: Tensor | None, W: Tensor, b: Tensor) -> Tensor:
    return torch.lerp(_context(H, C), H, torch.sigmoid(fuse_concat(H, C, W, b)))


def pool_mean(F: Tensor, mask: Tensor | None = None) -> Tensor:
    if mask is None:
        return F.mean(dim=-2)
    mask = mask.expand(F.shape[:-1])
    return F.where(mask[..., None], 0).sum(dim=-2) / mask.sum(dim=-1, keepdim=True).clamp(min=1)


def pool_max(F: Tensor, mask: Tensor | None = None) -> Tensor:
    if mask is None:
        return F.amax(dim=-2)
    g = F.masked_fill(~mask[..., None], -math.inf).amax(dim=-2)
    return g.where(mask.any(dim=-1, keepdim=True), 0)


def pool_weights(F: Tensor, u: Tensor, mask: Tensor | None = None) -> Tensor:
    return softmax(F @ u / math.sqrt(len(u)), mask)


def pool_attention(F: Tensor, u: Tensor, mask: Tensor | None = None) -> Tensor:
    """The learnt query u looks at the tokens, which are keys and values."""
    return attention(u.expand(*F.shape[:-2], 1, -1), F, F, mask).squeeze(-2)


# ---- objective -------------------------------------------------------------------------------------------------------


def cosine_similarity(G_t: Tensor, G_v: Tensor) -> Tensor:
    return l2_normalise(G_t) @ l2_normalise(G_v).mT


def token_cosine(H: Tensor, C: Tensor) -> Tensor:
    return torch.linalg.vecdot(l2_normalise(H), l2_normalise(C))


def triplet_loss(S: Tensor, positives: Tensor, margin: float = 0.2, violations: str = "sum") -> Tensor:
    caption, image = positives.nonzero(as_tuple=True)
    right = S[caption, image][:, None]
    total = S.new_zeros(())
    for scores, is_negative in ((S[caption], ~positives[caption]), (S.T[image], ~positives.T[image])):
        hinges = functional.margin_ranking_loss(right, scores, torch.ones_like(right), margin, reduction="none")
        hinges = hinges.where(is_negative, 0)
        if violations == "hardest":
            total = total + hinges.amax(dim=1).sum()
        elif violations == "mean":
            total = total + (hinges.sum(dim=1) / is_negative.sum(dim=1).clamp(min=1)).sum()
        else:
            total = total + hinges.sum()
    return total / len(caption)


def info_nce(
    S: Tensor, log_temperature: Tensor, positives: Tensor, temperature_range: tuple[float, float] = (0.01, 1.0)
) -> Tensor:
    Z = S / log_temperature.exp().clamp(*temperature_range)
    halves = []
    for logits, right in ((Z, positives), (Z.T, positives.T)):
        answered = right.any(dim=1)
        logits, right = logits[answered], right[answered].to(S.dtype)
        halves.append(functional.cross_entropy(logits, right / right.sum(dim=1, keepdim=True)))
    return sum(halves) / 2


# ---- helpers ---------------------------------------------------------------------------------------------------------


def _for_each_query(key_mask: Tensor | None) -> Tensor | None:
    return None if key_mask is None else key_mask[..., None, :]


def _for_each_head(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[..., None, :]


def _context(H: Tensor, C: Tensor | None) -> Tensor:
    return torch.zeros_like(H) if C is None else C
