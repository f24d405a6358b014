"""The objective in PyTorch, as the equations stand: every pair gets its contexts C, and [H ; C] is laid out in full."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

EPS = 1e-12                     # of equations/cosine.py


def loss(p: dict[str, torch.Tensor], batch, size, paired: bool, gated: bool) -> torch.Tensor:
    """`p` by the names of `Model.parameters`; `batch` has T (N, n, d_t), mask (N, n) and V (N, m, d_v)."""
    everywhere = torch.ones(batch.V.shape[:2], dtype=torch.bool)
    H_t = self_attention(batch.T, batch.mask, p, "text.attention", size.heads)
    H_v = self_attention(batch.V, everywhere, p, "image.attention", size.heads)
    g_t = pool(fuse(H_t, None, p, "fuse_t", gated), batch.mask)
    g_v = pool(fuse(H_v, None, p, "fuse_v", gated), everywhere)
    total = info_nce(normalise(g_t) @ normalise(g_v).T, p["loss_alone.log_temperature"])
    if not paired:
        return total
    N = len(H_t)
    T, V = (H.shape for H in (H_t, H_v))
    H_t, mask_t = H_t[:, None].expand(N, N, *T[1:]), batch.mask[:, None].expand(N, N, T[1])
    H_v, mask_v = H_v[None].expand(N, N, *V[1:]), everywhere[None].expand(N, N, V[1])
    g_t = pool(fuse(H_t, attend(H_t, H_v, H_v, mask_v), p, "fuse_t", gated), mask_t)
    g_v = pool(fuse(H_v, attend(H_v, H_t, H_t, mask_t), p, "fuse_v", gated), mask_v)
    s = (normalise(g_t) * normalise(g_v)).sum(-1)
    return total + info_nce(s, p["loss_paired.log_temperature"])


def self_attention(X, mask, p, name: str, heads: int):
    N, n, _ = X.shape
    Q, K, V = ((X @ p[f"{name}.W_{k}"] + p[f"{name}.b_{k}"]).view(N, n, heads, -1).transpose(1, 2) for k in "QKV")
    Y = attend(Q, K, V, mask[:, None])
    return Y.transpose(1, 2).reshape(N, n, -1) @ p[f"{name}.W_O"] + p[f"{name}.b_O"]


def attend(Q, K, V, mask):
    S = Q @ K.transpose(-1, -2) / math.sqrt(Q.shape[-1])
    return torch.softmax(S.masked_fill(~mask[..., None, :], -math.inf), dim=-1) @ V


def fuse(H, C, p, name: str, gated: bool):
    if not gated:
        return H if C is None else H + C
    W, b = p[f"{name}.W"], p[f"{name}.b"]
    if C is None:
        return torch.sigmoid(H @ W[:H.shape[-1]] + b) * H
    G = torch.sigmoid(torch.cat([H, C], dim=-1) @ W + b)
    return G * H + (1 - G) * C


def pool(X, mask):
    weights = mask.to(X.dtype) / mask.sum(-1, keepdim=True)
    return (X * weights[..., None]).sum(-2)


def normalise(X):
    return X * torch.rsqrt((X * X).sum(-1, keepdim=True) + EPS)


def info_nce(S, log_temperature):
    Z = S * torch.exp(-log_temperature)
    right = torch.arange(len(S))
    return (F.cross_entropy(Z, right) + F.cross_entropy(Z.T, right)) / 2
