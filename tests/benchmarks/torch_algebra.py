"""The objective in PyTorch with the same algebra as ours. With A the weights of one direction and K the tokens looked at:

    Q, K, V in one product                     X [W_Q W_K W_V]
    all logits in one product                  L = H_t H_vᵀ, read along the regions and along the words
    add: the mean of the contexts              w (A K) = (w A) K                one row a pair instead of n
    gate: the context's part of the gate       C W_2 = (A K) W_2 = A (K W_2)    K W_2 once an item
    gate: packed                               only the real words of a sentence are fused
"""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from tests.benchmarks.torch_textbook import EPS, info_nce, normalise


def loss(
    p: dict[str, torch.Tensor], batch, size, paired: bool, gated: bool, packed: bool = True,
    block: tuple[int, int] | None = None,
) -> torch.Tensor:
    """As torch_textbook.loss; where W_QKV and b_QKV stand for W_Q, W_K, W_V and their biases, these are one product.

    `block`, texts × images: what a block computes is not kept but computed once more in the backward (a checkpoint).
    """
    H_t = self_attention(batch.T, batch.mask, p, "text.attention", size.heads)
    H_v = self_attention(batch.V, None, p, "image.attention", size.heads)
    w_t = batch.mask.to(H_t.dtype) / batch.mask.sum(-1, keepdim=True)
    g_t, g_v = (w_t[:, None] @ alone(H_t, p, "fuse_t", gated))[:, 0], alone(H_v, p, "fuse_v", gated).mean(1)
    total = info_nce(normalise(g_t) @ normalise(g_v).T, p["loss_alone.log_temperature"])
    if not paired:
        return total
    scores = partial(gate_scores, packed=packed) if gated else add_scores
    weights = [p[f"fuse_{side}.{name}"] for side in "tv" for name in "Wb"] if gated else []
    if block is None:
        s = scores(H_t, batch.mask, w_t, H_v, *weights)
    else:
        s = torch.cat([
            torch.cat([checkpoint(scores, *rows, columns, *weights, use_reentrant=False, preserve_rng_state=False)
                       for columns in H_v.split(block[1])], dim=1)
            for rows in zip(*(x.split(block[0]) for x in (H_t, batch.mask, w_t)), strict=True)])
    return total + info_nce(s, p["loss_paired.log_temperature"])


def self_attention(X, mask, p, name: str, heads: int):
    N, n, d_in = X.shape
    flat = X.view(N * n, d_in)
    if f"{name}.W_QKV" in p:
        QKV = torch.addmm(p[f"{name}.b_QKV"], flat, p[f"{name}.W_QKV"])
        Q, K, V = QKV.view(N, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
    else:
        Q, K, V = (torch.addmm(p[f"{name}.b_{letter}"], flat, p[f"{name}.W_{letter}"]).view(N, n, heads, -1).transpose(1, 2)
                   for letter in "QKV")
    # F.scaled_dot_product_attention is no faster at these sizes: 16.9 ms against 16.7 for 64 × 36 regions, 6.1 against 4.4
    # for 64 × 16 words, forward and backward
    S = Q @ K.transpose(-1, -2) / math.sqrt(Q.shape[-1])
    if mask is not None:
        S = S.masked_fill(~mask[:, None, None], -math.inf)
    Y = (torch.softmax(S, dim=-1) @ V).transpose(1, 2).reshape(N * n, -1)
    return torch.addmm(p[f"{name}.b_O"], Y, p[f"{name}.W_O"]).view(N, n, -1)


def alone(H, p, name: str, gated: bool):
    if not gated:
        return H
    return torch.sigmoid(F.linear(H, p[f"{name}.W"][:H.shape[-1]].T, p[f"{name}.b"])) * H


def logits(H_t, H_v):
    """L (t, n, v, m) of a texts and b images."""
    (a, n, d), (b, m, _) = H_t.shape, H_v.shape
    return ((H_t.reshape(a * n, d) @ H_v.reshape(b * m, d).T) / math.sqrt(d)).view(a, n, b, m)


def softmax_over_words(L, mask):
    return torch.softmax(L.masked_fill(~mask[:, :, None, None], -math.inf), dim=1)


def add_scores(H_t, mask, w_t, H_v):
    (a, n, _), (b, m, _) = H_t.shape, H_v.shape
    L = logits(H_t, H_v)
    pooled_t = (w_t[:, None] @ torch.softmax(L, dim=3).view(a, n, b * m)).view(a, b, m)     # w A, then (w A) K
    pooled_v = softmax_over_words(L, mask).mean(3).transpose(1, 2)              # (t, v, n)
    g_t = (w_t[:, None] @ H_t) + (pooled_t.transpose(0, 1) @ H_v).transpose(0, 1)
    g_v = H_v.mean(1) + pooled_v @ H_t
    return cosine(g_t, g_v)


def gate_scores(H_t, mask, w_t, H_v, W_t, b_t, W_v, b_v, packed: bool):
    (a, n, d), (b, m, _) = H_t.shape, H_v.shape
    L = logits(H_t, H_v)
    A_v = softmax_over_words(L, mask).permute(0, 2, 3, 1).reshape(a, b * m, n)
    C_v = A_v @ torch.cat([H_t, H_t @ W_v[d:]], dim=2)
    F_v = gate(H_v, H_v @ W_v[:d] + b_v, C_v.view(a, b, m, 2 * d))              # (t, v, m, d)
    K_t = torch.cat([H_v, H_v @ W_t[d:]], dim=2)
    if packed:
        text_of, _ = mask.nonzero(as_tuple=True)                                # the sentence of each real word r
        H_r = H_t[mask]
        A_t = torch.softmax(L[mask], dim=2).transpose(0, 1)                     # (v, r, m)
        F_t = gate(H_r, H_r @ W_t[:d] + b_t, A_t @ K_t)                         # (v, r, d)
        g_t = F_t.new_zeros(b, a, d).index_add(1, text_of, F_t * w_t[mask][:, None])
    else:
        A_t = torch.softmax(L, dim=3).permute(2, 0, 1, 3).reshape(b, a * n, m)
        F_t = gate(H_t, H_t @ W_t[:d] + b_t, (A_t @ K_t).view(b, a, n, 2 * d))  # (v, t, n, d)
        g_t = (w_t[:, None] @ F_t)[:, :, 0]
    return cosine(g_t.transpose(0, 1), F_v.mean(2))


def gate(H, U, both):
    """G H + (1 - G) C; U is the token's part of the gate, `both` the context and its part."""
    C, from_C = both.chunk(2, dim=-1)
    return torch.lerp(C, H.expand_as(C), torch.sigmoid(U + from_C))


def cosine(g_t, g_v):
    r_t, r_v = (torch.rsqrt((g * g).sum(-1) + EPS) for g in (g_t, g_v))
    return (g_t * g_v).sum(-1) * r_t * r_v
