"""No false alarm: right implementations in other styles than ours are accepted, over 1,000 random shapes.

Each of eight equations stands here three times, as three people would write it: in closed form with the Jacobian spelt out,
as loops over single elements, and fused or rearranged. All take and give what the checker asks for, in float64 and in float32;
sizes run from 1 upwards. A checker that rejects one of them sends a student looking for a mistake that is not there.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np
import pytest

from attnretrieval.gradcheck import check_gradient

SHAPES = 42                     # random shapes a style, every other one in float32: 24 × 42 = 1,008


def grads(**d):
    """A NamedTuple of gradients, made on the spot: grads(X=...) has the field d_X."""
    return namedtuple("Grads", [f"d_{name}" for name in d])(*d.values())


def rows_of(X):
    return [i for i in np.ndindex(*X.shape[:-1])]


# --- softmax ---------------------------------------------------------------------------------------------------------


def softmax_closed(X):
    E = np.exp(X - X.real.max(axis=-1, keepdims=True))
    A = E / E.sum(axis=-1, keepdims=True)
    return A, A


def softmax_closed_backward(d_A, A):
    """The whole Jacobian, diag(a) - a aᵀ, row by row of the batch."""
    J = A[..., :, None] * np.eye(A.shape[-1], dtype=A.dtype) - A[..., :, None] * A[..., None, :]
    return grads(X=(d_A[..., None, :] @ J)[..., 0, :])


def softmax_loop(X):
    A = np.empty_like(X)
    for i in rows_of(X):
        top = max(x.real for x in X[i])
        exponents = [np.exp(x - top) for x in X[i]]
        for j, e in enumerate(exponents):
            A[i + (j,)] = e / sum(exponents)
    return A, A


def softmax_loop_backward(d_A, A):
    d_X = np.zeros_like(A)
    for i in rows_of(A):
        for j in range(A.shape[-1]):
            for k in range(A.shape[-1]):
                d_X[i + (k,)] += d_A[i + (j,)] * A[i + (j,)] * ((j == k) - A[i + (k,)])
    return grads(X=d_X)


def softmax_fused(X):
    """exp(x - log Σ exp x)."""
    top = X.real.max(axis=-1, keepdims=True)
    log_A = X - top - np.log(np.exp(X - top).sum(axis=-1, keepdims=True))
    return np.exp(log_A), log_A


def softmax_fused_backward(d_A, log_A):
    A = np.exp(log_A)
    return grads(X=A * (d_A - (d_A * A).sum(axis=-1, keepdims=True)))


# --- linear ----------------------------------------------------------------------------------------------------------


def linear_closed(X, W, b):
    return X @ W + b, (X, W)


def linear_closed_backward(d_Y, cache):
    X, W = cache
    batch = tuple(range(d_Y.ndim - 1))
    return grads(X=d_Y @ W.T, W=np.tensordot(X, d_Y, (batch, batch)), b=d_Y.sum(axis=batch))


def linear_loop(X, W, b):
    Y = np.empty((*X.shape[:-1], W.shape[1]), X.dtype)
    for i in rows_of(X):
        for o in range(W.shape[1]):
            Y[i + (o,)] = sum(X[i + (c,)] * W[c, o] for c in range(W.shape[0])) + b[o]
    return Y, (X, W)


def linear_loop_backward(d_Y, cache):
    X, W = cache
    d_X, d_W, d_b = np.zeros_like(X), np.zeros_like(W), np.zeros(W.shape[1], W.dtype)
    for i in rows_of(X):
        for o in range(W.shape[1]):
            d_b[o] += d_Y[i + (o,)]
            for c in range(W.shape[0]):
                d_X[i + (c,)] += d_Y[i + (o,)] * W[c, o]
                d_W[c, o] += d_Y[i + (o,)] * X[i + (c,)]
    return grads(X=d_X, W=d_W, b=d_b)


def linear_fused(X, W, b):
    """The bias as one more row of W, for an X with a column of ones."""
    flat = np.concatenate([X.reshape(-1, X.shape[-1]), np.ones((X.size // X.shape[-1], 1), X.dtype)], axis=1)
    W_b = np.concatenate([W, b[None]])
    return (flat @ W_b).reshape(*X.shape[:-1], W.shape[1]), (flat, W_b, X.shape)


def linear_fused_backward(d_Y, cache):
    flat, W_b, shape = cache
    d_Y = d_Y.reshape(-1, W_b.shape[1])
    d_W_b = flat.T @ d_Y
    return grads(X=(d_Y @ W_b.T)[:, :-1].reshape(shape), W=d_W_b[:-1].copy(), b=d_W_b[-1].copy())


# --- attention -------------------------------------------------------------------------------------------------------


def attention_closed(Q, K, V):
    A, _ = softmax_closed(Q @ K.swapaxes(-1, -2) * Q.shape[-1] ** -0.5)
    return A @ V, (Q, K, V, A)


def attention_closed_backward(d_Y, cache):
    Q, K, V, A = cache
    (d_S,) = softmax_closed_backward(d_Y @ V.swapaxes(-1, -2), A)
    d_S = d_S * Q.shape[-1] ** -0.5
    return grads(Q=d_S @ K, K=d_S.swapaxes(-1, -2) @ Q, V=A.swapaxes(-1, -2) @ d_Y)


def attention_loop(Q, K, V):
    """One query of one item after the other."""
    Y, A = np.empty((*Q.shape[:-1], V.shape[-1]), Q.dtype), np.empty((*Q.shape[:-1], K.shape[-2]), Q.dtype)
    for i in rows_of(Q):
        S = [sum(q * k for q, k in zip(Q[i], key, strict=True)) * Q.shape[-1] ** -0.5 for key in K[i[:-1]]]
        A[i] = softmax_loop(np.array(S, Q.dtype))[0]
        Y[i] = sum(a * v for a, v in zip(A[i], V[i[:-1]], strict=True))
    return Y, (Q, K, V, A)


def attention_loop_backward(d_Y, cache):
    Q, K, V, A = cache
    d_Q, d_K, d_V = np.zeros_like(Q), np.zeros_like(K), np.zeros_like(V)
    for i in rows_of(Q):
        item = i[:-1]
        d_a = [(d_Y[i] * v).sum() for v in V[item]]
        mean = sum(a * d for a, d in zip(A[i], d_a, strict=True))
        for j in range(K.shape[-2]):
            d_V[item][j] += A[i][j] * d_Y[i]
            d_s = A[i][j] * (d_a[j] - mean) * Q.shape[-1] ** -0.5
            d_Q[i] += d_s * K[item][j]
            d_K[item][j] += d_s * Q[i]
    return grads(Q=d_Q, K=d_K, V=d_V)


def attention_fused(Q, K, V):
    """Queries scaled first, the sum of the exponents divided out last; the backward starts from d_Y · Y (FlashAttention)."""
    scaled = Q * Q.shape[-1] ** -0.5
    S = scaled @ K.swapaxes(-1, -2)
    E = np.exp(S - S.real.max(axis=-1, keepdims=True))
    total = E.sum(axis=-1, keepdims=True)
    Y = (E @ V) / total
    return Y, (scaled, K, V, E, total, Y.copy())


def attention_fused_backward(d_Y, cache):
    scaled, K, V, E, total, Y = cache
    A = E / total
    d_S = A * (d_Y @ V.swapaxes(-1, -2) - (d_Y * Y).sum(axis=-1, keepdims=True))
    return grads(Q=d_S @ K * K.shape[-1] ** -0.5, K=d_S.swapaxes(-1, -2) @ scaled, V=A.swapaxes(-1, -2) @ d_Y)


# --- layer norm ------------------------------------------------------------------------------------------------------

EPS = 1e-5


def layer_norm_closed(X, gain, bias):
    """The Jacobian of a row, r (I - 1/d - z zᵀ/d)."""
    mean = X.mean(axis=-1, keepdims=True)
    r = (((X - mean) ** 2).mean(axis=-1, keepdims=True) + EPS) ** -0.5
    Z = (X - mean) * r
    return gain * Z + bias, (Z, r, gain)


def layer_norm_closed_backward(d_Y, cache):
    Z, r, gain = cache
    d = Z.shape[-1]
    J = r[..., None] * (np.eye(d, dtype=Z.dtype) - (1 + Z[..., :, None] * Z[..., None, :]) / d)
    batch = tuple(range(d_Y.ndim - 1))
    return grads(X=((d_Y * gain)[..., None, :] @ J)[..., 0, :], gain=(d_Y * Z).sum(axis=batch), bias=d_Y.sum(axis=batch))


def layer_norm_loop(X, gain, bias):
    Y, Z, r = np.empty_like(X), np.empty_like(X), np.empty(X.shape[:-1], X.dtype)
    for i in rows_of(X):
        d = len(X[i])
        mean = sum(X[i]) / d
        r[i] = 1 / np.sqrt(sum((x - mean) * (x - mean) for x in X[i]) / d + EPS)
        for j in range(d):
            Z[i + (j,)] = (X[i + (j,)] - mean) * r[i]
            Y[i + (j,)] = gain[j] * Z[i + (j,)] + bias[j]
    return Y, (Z, r, gain)


def layer_norm_loop_backward(d_Y, cache):
    Z, r, gain = cache
    d_X, d_gain, d_bias = np.zeros_like(Z), np.zeros_like(gain), np.zeros_like(gain)
    for i in rows_of(Z):
        d = len(Z[i])
        for j in range(d):
            d_gain[j] += d_Y[i + (j,)] * Z[i + (j,)]
            d_bias[j] += d_Y[i + (j,)]
            for k in range(d):
                d_X[i + (k,)] += d_Y[i + (j,)] * gain[j] * r[i] * ((j == k) - (1 + Z[i + (j,)] * Z[i + (k,)]) / d)
    return grads(X=d_X, gain=d_gain, bias=d_bias)


def layer_norm_fused(X, gain, bias):
    """Step by step through mean, centring, variance and root, each with its own backward."""
    centred = X - X.mean(axis=-1, keepdims=True)
    root = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + EPS)
    return centred / root * gain + bias, (centred, root, gain)


def layer_norm_fused_backward(d_Y, cache):
    centred, root, gain = cache
    d = centred.shape[-1]
    d_Z = d_Y * gain
    d_root = -(d_Z * centred).sum(axis=-1, keepdims=True) / (root * root)
    d_centred = d_Z / root + d_root / root * centred / d
    d_X = d_centred - d_centred.sum(axis=-1, keepdims=True) / d
    flat = (-1, d)
    return grads(X=d_X, gain=(d_Y * centred / root).reshape(flat).sum(axis=0), bias=d_Y.reshape(flat).sum(axis=0))


# --- cosine similarity -----------------------------------------------------------------------------------------------


def cosine_closed(T, V):
    """The quotient rule: ds/dt = v / (|t| |v|) - s t / |t|²."""
    t, v = np.sqrt((T * T).sum(axis=-1)), np.sqrt((V * V).sum(axis=-1))
    S = T @ V.T / (t[:, None] * v)
    return S, (T, V, t, v, S.copy())


def cosine_closed_backward(d_S, cache):
    T, V, t, v, S = cache
    scaled = d_S / (t[:, None] * v)
    d_T = scaled @ V - ((d_S * S).sum(axis=1) / t ** 2)[:, None] * T
    d_V = scaled.T @ T - ((d_S * S).sum(axis=0) / v ** 2)[:, None] * V
    return grads(T=d_T, V=d_V)


def cosine_loop(T, V):
    S = np.empty((len(T), len(V)), T.dtype)
    for c, t in enumerate(T):
        for i, v in enumerate(V):
            S[c, i] = sum(t * v) / np.sqrt(sum(t * t) * sum(v * v))
    return S, (T, V, S.copy())


def cosine_loop_backward(d_S, cache):
    T, V, S = cache
    d_T, d_V = np.zeros_like(T), np.zeros_like(V)
    for c, t in enumerate(T):
        for i, v in enumerate(V):
            root = np.sqrt(sum(t * t) * sum(v * v))
            d_T[c] += d_S[c, i] * (v / root - S[c, i] * t / sum(t * t))
            d_V[i] += d_S[c, i] * (t / root - S[c, i] * v / sum(v * v))
    return grads(T=d_T, V=d_V)


def cosine_fused(T, V):
    """Both sides normalised as one stack."""
    X = np.concatenate([T, V])
    r = (X * X).sum(axis=1, keepdims=True) ** -0.5
    X_hat = X * r
    return X_hat[:len(T)] @ X_hat[len(T):].T, (X_hat, r, len(T))


def cosine_fused_backward(d_S, cache):
    X_hat, r, n = cache
    d_hat = np.concatenate([d_S @ X_hat[n:], d_S.T @ X_hat[:n]])
    d_X = r * (d_hat - X_hat * (d_hat * X_hat).sum(axis=1, keepdims=True))
    return grads(T=d_X[:n].copy(), V=d_X[n:].copy())


# --- InfoNCE: one right image a caption, temperature as it is ---------------------------------------------------------


def log_softmax(Z, axis):
    Z = Z - Z.real.max(axis=axis, keepdims=True)
    return Z - np.log(np.exp(Z).sum(axis=axis, keepdims=True))


def info_nce_closed(S, log_tau):
    tau = np.exp(log_tau)
    Z = S / tau
    P, R = log_softmax(Z, 1), log_softmax(Z, 0)
    return -(np.trace(P) + np.trace(R)) / (2 * len(S)), (S, tau, np.exp(P), np.exp(R))


def info_nce_closed_backward(d_L, cache):
    S, tau, P, R = cache
    d_Z = d_L * (P + R - 2 * np.eye(len(S), dtype=S.dtype)) / (2 * len(S))
    return grads(S=d_Z / tau, log_tau=-(d_Z * S).sum() / tau)


def info_nce_loop(S, log_tau):
    n, tau, loss = len(S), np.exp(log_tau), 0
    for i in range(n):
        for scores in (S[i] / tau, S[:, i] / tau):
            top = scores.real.max()
            loss = loss + top + np.log(sum(np.exp(z - top) for z in scores)) - scores[i]
    return loss / (2 * n), (S, tau)


def info_nce_loop_backward(d_L, cache):
    S, tau = cache
    n, d_S, d_tau = len(S), np.zeros_like(S), 0
    for i in range(n):
        for scores, d in ((S[i] / tau, d_S[i]), (S[:, i] / tau, d_S[:, i])):
            weights = np.exp(scores - scores.max())
            weights /= sum(weights)
            for j in range(n):
                d_z = d_L * (weights[j] - (j == i)) / (2 * n)
                d[j] += d_z / tau
                d_tau = d_tau - d_z * scores[j]
    return grads(S=d_S, log_tau=np.asarray(d_tau, S.dtype))


def info_nce_fused(S, log_tau):
    """All gradients found in the forward; the backward only multiplies."""
    loss, cache = info_nce_closed(S, log_tau)
    d = info_nce_closed_backward(S.dtype.type(1), cache)
    return loss, (np.asarray(d.d_S).real, np.asarray(d.d_log_tau).real)


def info_nce_fused_backward(d_L, cache):
    return grads(S=d_L * cache[0], log_tau=d_L * cache[1])


# --- triplet: sum over all negatives, one right image a caption ---------------------------------------------------------

MARGIN = 0.2


def triplet_closed(S):
    positive = np.diag(S)
    by_row, by_column = MARGIN + S - positive[:, None], MARGIN + S - positive
    others = ~np.eye(len(S), dtype=bool)
    H, U = others & (by_row.real > 0), others & (by_column.real > 0)
    return ((by_row * H).sum() + (by_column * U).sum()) / len(S), (H, U)


def triplet_closed_backward(d_L, cache):
    H, U = cache
    d_S = H.astype(d_L.dtype) + U - np.diag(H.sum(axis=1) + U.sum(axis=0)).astype(d_L.dtype)
    return grads(S=d_L * d_S / len(H))


def triplet_loop(S):
    loss = 0 * S[0, 0]
    for i in range(len(S)):
        for j in range(len(S)):
            for wrong in (S[i, j], S[j, i]):
                hinge = MARGIN + wrong - S[i, i]
                if i != j and hinge.real > 0:
                    loss = loss + hinge
    return loss / len(S), S


def triplet_loop_backward(d_L, S):
    d_S = np.zeros_like(S)
    share = d_L / len(S)
    for i in range(len(S)):
        for j in range(len(S)):
            for at in ((i, j), (j, i)):
                if i != j and MARGIN + S[at] - S[i, i] > 0:
                    d_S[at] += share
                    d_S[i, i] -= share
    return grads(S=d_S)


def triplet_fused(S):
    """Both directions as one stack of rows, the hinge as (v + √v²) / 2."""
    stack = np.concatenate([S, S.T])
    diagonal = np.concatenate([np.diag(S)] * 2)[:, None]
    V = (MARGIN + stack - diagonal) * ~np.concatenate([np.eye(len(S), dtype=bool)] * 2)
    positive = V.real > 0
    return (V * positive).sum() / len(S), positive


def triplet_fused_backward(d_L, positive):
    n = positive.shape[1]
    d_V = positive * (d_L / n)
    d_S = d_V[:n] + d_V[n:].T
    d_S[np.arange(n), np.arange(n)] -= d_V[:n].sum(axis=1) + d_V[n:].sum(axis=1)
    return grads(S=d_S)


# --- mean pooling over the real tokens ----------------------------------------------------------------------------------


def pool_closed(F, mask):
    count = np.maximum(mask.sum(axis=-1), 1).astype(F.real.dtype)
    return np.where(mask[..., None], F, 0).sum(axis=-2) / count[..., None], (mask, count)


def pool_closed_backward(d_g, cache):
    mask, count = cache
    return grads(F=np.where(mask[..., None], (d_g / count[..., None])[..., None, :], 0).astype(d_g.dtype))


def pool_loop(F, mask):
    g = np.zeros((*F.shape[:-2], F.shape[-1]), F.dtype)
    for i in np.ndindex(*F.shape[:-2]):
        real = [row for row, m in zip(F[i], mask[i], strict=True) if m]
        for row in real:
            g[i] += row / len(real)
    return g, mask


def pool_loop_backward(d_g, mask):
    d_F = np.zeros((*mask.shape, d_g.shape[-1]), d_g.dtype)
    for i in np.ndindex(*mask.shape):
        if mask[i]:
            d_F[i] = d_g[i[:-1]] / d_g.dtype.type(mask[i[:-1]].sum())
    return grads(F=d_F)


def pool_fused(F, mask):
    """One product with a row of weights."""
    weights = (mask / np.maximum(mask.sum(axis=-1, keepdims=True), 1)).astype(F.real.dtype)[..., None, :]
    return (weights @ F)[..., 0, :], weights


def pool_fused_backward(d_g, weights):
    return grads(F=weights.swapaxes(-1, -2) @ d_g[..., None, :])


# --- the shapes ------------------------------------------------------------------------------------------------------


def batch(draw) -> tuple[int, ...]:
    """No, one or two leading axes."""
    return tuple(int(n) for n in draw.integers(1, 4, draw.integers(0, 3)))


def size(draw) -> int:
    return int(draw.integers(1, 6))


def rows_inputs(draw):
    return {"X": draw.normal(size=(*batch(draw), size(draw)))}


def linear_inputs(draw):
    d_in, d_out = size(draw), size(draw)
    return {"X": draw.normal(size=(*batch(draw), d_in)), "W": draw.normal(size=(d_in, d_out)), "b": draw.normal(size=d_out)}


def attention_inputs(draw):
    lead, n, m, d = batch(draw), size(draw), size(draw), size(draw)
    shapes = {"Q": (n, d), "K": (m, d), "V": (m, size(draw))}
    return {name: draw.normal(size=(*lead, *shape)) for name, shape in shapes.items()}


def layer_norm_inputs(draw):
    d = 1 + size(draw)
    return {"X": draw.normal(size=(*batch(draw), d)), "gain": draw.normal(size=d), "bias": draw.normal(size=d)}


def cosine_inputs(draw):
    d = 1 + size(draw)
    return {"T": draw.normal(size=(size(draw), d)), "V": draw.normal(size=(size(draw), d))}


def info_nce_inputs(draw):
    n = size(draw)
    return {"S": draw.normal(size=(n, n)), "log_tau": np.asarray(np.log(draw.uniform(0.2, 2)))}


def triplet_inputs(draw):
    n = size(draw)
    return {"S": 0.3 * draw.normal(size=(n, n))}


def pool_inputs(draw):
    F = draw.normal(size=(*batch(draw), size(draw), size(draw)))
    return {"F": F, "mask": draw.random(F.shape[:-1]) > 0.3}


STYLES: dict[str, tuple[Callable, Callable, Callable]] = {
    f"{name}, {style}": (globals()[f"{name}_{style}"], globals()[f"{name}_{style}_backward"], make)
    for name, make in {
        "softmax": rows_inputs, "linear": linear_inputs, "attention": attention_inputs, "layer_norm": layer_norm_inputs,
        "cosine": cosine_inputs, "info_nce": info_nce_inputs, "triplet": triplet_inputs, "pool": pool_inputs}.items()
    for style in ("closed", "loop", "fused")
}
DTYPES = (np.float64, np.float32)


def test_there_are_a_thousand_shapes():
    assert len(STYLES) == 24 and len(STYLES) * SHAPES >= 1000


@pytest.mark.parametrize("style", STYLES)
def test_a_right_implementation_is_accepted(style):
    forward, backward, make = STYLES[style]
    draw = np.random.default_rng(sum(style.encode()))
    for number in range(SHAPES):
        dtype = DTYPES[number % 2]
        inputs = {name: x.astype(dtype) if x.dtype.kind == "f" else x for name, x in make(draw).items()}
        report = check_gradient(forward, backward, inputs, rng=draw, name=f"{style}, {dtype.__name__}")
        assert report.passed, f"{report}\n{ {name: x.shape for name, x in inputs.items()} }"


@pytest.mark.parametrize("name", ["softmax", "linear", "attention", "layer_norm", "cosine", "info_nce", "triplet", "pool"])
def test_the_styles_agree(name):
    inputs = STYLES[f"{name}, closed"][2](np.random.default_rng(3))
    outs = [np.asarray(STYLES[f"{name}, {style}"][0](**inputs)[0]) for style in ("closed", "loop", "fused")]
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], rtol=1e-12, atol=1e-14)
