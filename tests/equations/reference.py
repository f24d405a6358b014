"""The equations once more, as loops over Python numbers, written from their formulas and from nothing in the package.

Slow and plain. Arrays are indexed, never operated on; every function takes one sequence, without leading axes.
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


def length(a) -> float:
    return math.sqrt(dot(a, a))


def cosine(a, b) -> float:
    return dot(a, b) / (length(a) * length(b))


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


def cosine_attention(Q, K, V, log_scale, mask=None) -> np.ndarray:
    scale = math.exp(float(log_scale))
    return np.array([weighted_sum(softmax([scale * cosine(q, k) for k in K], mask), V) for q in Q])


def by_head(function, heads: int, *arrays) -> np.ndarray:
    """`function` on each head's features by itself, the results side by side."""
    size = arrays[0].shape[1] // heads
    return np.concatenate([function(*(X[:, i * size:(i + 1) * size] for X in arrays)) for i in range(heads)], axis=1)


def multi_head(X, p, mask=None, heads: int = 1) -> np.ndarray:
    Q, K, V = (linear(X, p[f"W_{name}"], p[f"b_{name}"]) for name in "QKV")
    Y = by_head(lambda q, k, v: attention(q, k, v, mask)[0], heads, Q, K, V)
    return linear(Y, p["W_O"], p["b_O"])


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


def pool_attention(F, u, mask=None) -> list[float]:
    return weighted_sum(softmax([dot(row, u) / math.sqrt(len(u)) for row in F], mask), F)


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
                P = softmax([float(s) / tau for s in row])
                losses.append(-sum(math.log(p) for p, a in zip(P, answers, strict=True) if a) / count)
        halves.append(sum(losses) / len(losses))
    return sum(halves) / 2
