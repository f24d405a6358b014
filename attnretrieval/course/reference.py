"""The equations once more, as loops over Python numbers, written from their formulas and from nothing else in the package.

Slow and plain. Arrays are indexed, never operated on; every function takes one sequence, without leading axes (values.py
lays them over batches). What they return is what a right forward returns: a wrong forward whose backward is wrong in the same
way passes every gradient check, and only a comparison of values finds it.
"""

from __future__ import annotations

import math

import numpy as np


def softmax(scores, mask=None) -> list[float]:
    real = [i for i in range(len(scores)) if mask is None or mask[i]]
    if not real:
        return [0.0] * len(scores)
    top = max(float(scores[i]) for i in real)
    exponents = [math.exp(float(scores[i]) - top) if i in real else 0.0 for i in range(len(scores))]
    total = math.fsum(exponents)
    return [e / total for e in exponents]


def dot(a, b) -> float:
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def length(a, eps: float = 0.0) -> float:
    return math.sqrt(dot(a, a) + eps)


def normalised(a, eps: float = 0.0) -> list[float]:
    return [float(x) / length(a, eps) for x in a]


def cosine(a, b, eps: float = 0.0) -> float:
    return dot(a, b) / (length(a, eps) * length(b, eps))


def linear(X, W, b=None) -> np.ndarray:
    Y = np.zeros((len(X), W.shape[1]))
    for i in range(len(X)):
        for o in range(W.shape[1]):
            Y[i, o] = dot(X[i], W[:, o]) + (0.0 if b is None else float(b[o]))
    return Y


def weighted_sum(weights, rows) -> list[float]:
    return [math.fsum(w * float(row[c]) for w, row in zip(weights, rows, strict=True)) for c in range(rows.shape[1])]


def attention(Q, K, V, mask=None) -> tuple[np.ndarray, np.ndarray]:
    """Y and the weights A."""
    A = np.array([softmax([dot(q, k) / math.sqrt(len(q)) for k in K], mask) for q in Q]).reshape(len(Q), len(K))
    return np.array([weighted_sum(a, V) for a in A]), A


def cosine_attention(Q, K, V, log_scale, mask=None, eps: float = 0.0) -> np.ndarray:
    scale = math.exp(float(log_scale))
    return np.array([weighted_sum(softmax([scale * cosine(q, k, eps) for k in K], mask), V) for q in Q])


def by_head(function, heads: int, *arrays) -> np.ndarray:
    """`function` on each head's features by itself, the results side by side."""
    size = arrays[0].shape[1] // heads
    return np.concatenate([function(*(X[:, i * size:(i + 1) * size] for X in arrays)) for i in range(heads)], axis=1)


def multi_head(X, p, mask=None, heads: int = 1) -> np.ndarray:
    Q, K, V = (linear(X, p[f"W_{name}"], p[f"b_{name}"]) for name in "QKV")
    Y = by_head(lambda q, k, v: attention(q, k, v, mask)[0], heads, Q, K, V)
    return linear(Y, p["W_O"], p["b_O"])


def cross_attention(H, H_other, mask=None, W_Q=None, W_K=None, W_V=None, log_scale=None, heads: int = 1, eps: float = 0.0):
    Q, K, V = (X if W is None else linear(X, W) for X, W in ((H, W_Q), (H_other, W_K), (H_other, W_V)))

    def one_head(q, k, v):
        return attention(q, k, v, mask)[0] if log_scale is None else cosine_attention(q, k, v, log_scale, mask, eps)

    return by_head(one_head, heads, Q, K, V)


def split_heads(X, heads: int) -> np.ndarray:
    """Head by head, its block of features: (h, n, d / h)."""
    n, d = X.shape
    size = d // heads
    return np.array([[[float(X[i, head * size + c]) for c in range(size)] for i in range(n)] for head in range(heads)])


def join_heads(X) -> np.ndarray:
    heads, n, size = X.shape
    return np.array([[float(X[head, i, c]) for head in range(heads) for c in range(size)] for i in range(n)])


def feed_forward(x, W_1, b_1, W_2, b_2) -> np.ndarray:
    hidden = [max(0.0, u) for u in linear([x], W_1, b_1)[0]]
    return linear([hidden], W_2, b_2)[0]


def position_code(X, E) -> list[list[float]]:
    return [[float(X[i][c]) + float(E[i][c]) for c in range(len(X[i]))] for i in range(len(X))]


def embedding(E, ids) -> list[list[float]]:
    return [[float(v) for v in E[int(i)]] for i in ids]


def dropout(x, keep) -> list[float]:
    return [float(v) * float(k) for v, k in zip(x, keep, strict=True)]


def layer_norm(x, gain, bias, eps: float) -> list[float]:
    mean = math.fsum(float(v) for v in x) / len(x)
    variance = math.fsum((float(v) - mean) ** 2 for v in x) / len(x)
    return [float(g) * (float(v) - mean) / math.sqrt(variance + eps) + float(b) for v, g, b in zip(x, gain, bias, strict=True)]


def pool_mean(F, mask=None) -> list[float]:
    real = [row for i, row in enumerate(F) if mask is None or mask[i]]
    return [math.fsum(float(row[c]) for row in real) / len(real) if real else 0.0 for c in range(F.shape[1])]


def pool_max(F, mask=None) -> list[float]:
    real = [row for i, row in enumerate(F) if mask is None or mask[i]]
    return [max((float(row[c]) for row in real), default=0.0) for c in range(F.shape[1])]


def pool_weights(F, u, mask=None) -> list[float]:
    return softmax([dot(row, u) / math.sqrt(len(u)) for row in F], mask)


def pool_attention(F, u, mask=None) -> list[float]:
    return weighted_sum(pool_weights(F, u, mask), F)


def fuse(kind: str, H, C, W=None, b=None) -> np.ndarray:
    if C is None:
        C = np.zeros_like(H)
    if kind == "add":
        return np.array([[float(h) + float(c) for h, c in zip(*rows, strict=True)] for rows in zip(H, C, strict=True)])
    U = linear([[*h, *c] for h, c in zip(H, C, strict=True)], W, b)
    if kind == "concat":
        return U
    F = np.zeros_like(U)
    for i in range(U.shape[0]):
        for j in range(U.shape[1]):
            gate = 1 / (1 + math.exp(-U[i, j]))
            F[i, j] = gate * H[i, j] + (1 - gate) * C[i, j]
    return F


def triplet(S, positives, margin: float, violations: str) -> float:
    captions, images = S.shape
    total = 0.0
    for c in range(captions):
        for i in range(images):
            if not positives[c, i]:
                continue
            wrong_images = [max(0.0, margin + S[c, j] - S[c, i]) for j in range(images) if not positives[c, j]]
            wrong_captions = [max(0.0, margin + S[k, i] - S[c, i]) for k in range(captions) if not positives[k, i]]
            for hinges in (wrong_images, wrong_captions):
                if hinges and violations == "sum":
                    total += sum(hinges)
                elif hinges and violations == "hardest":
                    total += max(hinges)
                elif hinges:
                    total += sum(hinges) / len(hinges)
    return total / int(positives.sum())


def info_nce(S, positives, tau: float) -> float:
    """The mean of both directions; rows without a right answer are left out."""
    halves = []
    for scores, right in ((S, positives), (S.T, positives.T)):
        losses = []
        for row, answers in zip(scores, right, strict=True):
            count = sum(bool(a) for a in answers)
            if count:
                Z = [float(s) / tau for s in row]
                top = max(Z)
                log_total = top + math.log(math.fsum(math.exp(z - top) for z in Z))
                losses.append(sum(log_total - z for z, a in zip(Z, answers, strict=True) if a) / count)
        halves.append(sum(losses) / len(losses))
    return sum(halves) / 2
