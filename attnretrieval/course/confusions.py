"""Formulas that are taken for one another: what a forward computes when it computes something else.

A wrong output says little; "this is the loss of one direction" says what to mend. Each function here yields, for the arguments
of one equation, values of formulas that people write in its place: a short name, what it is, and the value. `check_values`
looks for the one that a wrong forward gave. To add a confusion, add a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attnretrieval.backend import Array

Confusion = tuple[str, str, Array]
EPS = 1e-12                 # the ε of l2_normalise


def _length(X: Array, axis: int = -1) -> Array:
    return np.sqrt((X * X).sum(axis=axis, keepdims=True) + EPS)


def _l2_normalise(X: Array) -> Iterator[Confusion]:
    for axis in range(X.ndim - 1):
        yield "along another axis", f"X divided by the lengths along axis {axis}, not of each vector", X / _length(X, axis)
    mean_square = (X * X).mean(axis=-1, keepdims=True)
    yield "mean for sum", "X divided by the root of the mean square, not of the sum", X / np.sqrt(mean_square)
    yield "batch sum for row sum", "X divided by one length for the whole batch", X / np.sqrt((X * X).sum() + EPS)
    yield "scaled", "X divided by the square of its length", X / _length(X) ** 2


def _pair_scores(t: Array, v: Array) -> Iterator[Confusion]:
    """Of vectors that already broadcast against each other, (..., d)."""
    t_hat, v_hat = t / _length(t), v / _length(v)
    yield "normalisation of both sides missing", "a dot product without normalisation", (t * v).sum(-1)
    yield "normalisation of the first side missing", "only the second side normalised", (t * v_hat).sum(-1)
    yield "normalisation of the second side missing", "only the first side normalised", (t_hat * v).sum(-1)
    yield "mean for sum", "the mean over the features, where their products are summed", (t_hat * v_hat).mean(-1)
    yield "sign of the score", "a distance, 1 - cos: near is small", 1 - (t_hat * v_hat).sum(-1)
    yield "sign of the score", "minus a distance, cos - 1", (t_hat * v_hat).sum(-1) - 1


def _cosine_similarity(G_t: Array, G_v: Array) -> Iterator[Confusion]:
    return _pair_scores(G_t[..., :, None, :], G_v[..., None, :, :])


def _softmax(S: Array, mask: Array | None = None) -> Iterator[Confusion]:
    keep = np.ones(S.shape, bool) if mask is None else np.broadcast_to(mask, S.shape)
    yield "mask forgotten", "a softmax without its mask", _weights(S, True)
    yield "mask inverted", "a softmax over what is masked", _weights(S, ~keep)
    for axis in range(S.ndim - 1):
        yield "along another axis", f"a softmax along axis {axis}", _weights(S, keep, axis)
    E = np.exp(S - S.max(axis=-1, keepdims=True)) * keep
    for axis in range(S.ndim - 1):
        yield "along another axis", f"exp(S) divided by its sums along axis {axis}", E / E.sum(axis=axis, keepdims=True)


def _weights(S: Array, keep: Array | bool, axis: int = -1) -> Array:
    keep = np.broadcast_to(keep, S.shape)
    top = np.where(keep, S, -np.inf).max(axis=axis, keepdims=True, initial=-1e300)
    E = np.exp(np.where(keep, S, top) - top) * keep
    Z = E.sum(axis=axis, keepdims=True)
    return E / np.where(Z == 0, 1, Z)


def _attention(Q: Array, K: Array, V: Array, key_mask: Array | None = None) -> Iterator[Confusion]:
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1])
    keep = True if key_mask is None else key_mask[..., None, :]
    yield "along another axis", "a softmax over the queries", _weights(S, keep, -2) @ V
    yield "along another axis", "a softmax over the queries, without the mask", _weights(S, True, -2) @ V
    yield "mask after the softmax", "weights masked after the softmax: their rows do not sum to 1", (
        _weights(S, True) * keep) @ V
    if (m := K.shape[-2]) > 1:
        yield "scaled", f"a scale of 1/√{m}, the number of keys", _weights(S * np.sqrt(Q.shape[-1] / m), keep) @ V


def _multi_head(X, W_Q, b_Q, W_K, b_K, W_V, b_V, W_O, b_O, mask=None, heads=1) -> Iterator[Confusion]:
    from attnretrieval.equations.multi_head import multi_head_attention

    same = {"W_O": W_O, "b_O": b_O, "mask": mask}
    for code, text, (a, b, c), h in (
        ("queries and keys exchanged", "keys that look at queries", "KQV", heads),
        ("keys and values exchanged", "values as keys, and keys as values", "QVK", heads),
        ("heads in one place", "all features in one head", "QKV", 1),
    ):
        W, bias = {"Q": W_Q, "K": W_K, "V": W_V}, {"Q": b_Q, "K": b_K, "V": b_V}
        if W[a].shape[1] == W[b].shape[1] == W[c].shape[1]:
            yield code, text, multi_head_attention(X, W[a], bias[a], W[b], bias[b], W[c], bias[c], heads=h, **same)[0]


def _cosine_attention(Q, K, V, log_scale, key_mask=None) -> Iterator[Confusion]:
    keep = True if key_mask is None else key_mask[..., None, :]
    q, k = Q / _length(Q), K / _length(K)
    for code, text, S in (
        ("log_scale for exp(log_scale)", "log_scale itself as the scale", log_scale * (q @ k.swapaxes(-1, -2))),
        ("sign of log_scale", "division by exp(log_scale)", (q @ k.swapaxes(-1, -2)) / np.exp(log_scale)),
        ("normalisation of the queries missing", "queries of any length", np.exp(log_scale) * (Q @ k.swapaxes(-1, -2))),
        ("normalisation of the keys missing", "keys of any length", np.exp(log_scale) * (q @ K.swapaxes(-1, -2))),
        ("scaled", "cosines divided by √d besides", np.exp(log_scale) * (q @ k.swapaxes(-1, -2)) / np.sqrt(Q.shape[-1])),
    ):
        yield code, text, _weights(S, keep) @ V


def _layer_norm(X, gain, bias, eps=1e-5) -> Iterator[Confusion]:
    d, centred = X.shape[-1], X - X.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    square = (X * X).mean(-1, keepdims=True)
    scaled = {
        ("mean missing", "X without its mean subtracted, over its root mean square"): X / np.sqrt(square + eps),
        ("mean missing", "X without its mean subtracted, over its deviation"): X / np.sqrt(variance + eps),
        ("scaled", f"a variance divided by d - 1 = {d - 1}"): centred / np.sqrt(variance * d / max(d - 1, 1) + eps),
        ("sum for mean", "a sum for the mean in the variance"): centred / np.sqrt(variance * d + eps),
        ("factor missing", "X centred, and not divided by its deviation"): centred,
        ("factor there twice", "X centred, and divided by its variance"): centred / (variance + eps),
    }
    for (code, text), Z in scaled.items():
        yield code, text, gain * Z + bias
    yield "gain added", "1 + gain for the gain", (1 + gain) * centred / np.sqrt(variance + eps) + bias
    if X.ndim > 1:
        across = X - X.mean(0, keepdims=True)
        for ddof in (0, 1) if len(X) > 1 else (0,):
            yield "along another axis", "X normalised over the batch", (
                gain * across / np.sqrt(X.var(0, keepdims=True, ddof=ddof) + eps) + bias)


def _feed_forward(X, W_1, b_1, W_2, b_2) -> Iterator[Confusion]:
    U = X @ W_1 + b_1
    for code, text, R in (
        ("ReLU forgotten", "two layers without the ReLU", U),
        ("sign of the ReLU", "the negative half kept", np.minimum(U, 0)),
        ("sign of the ReLU", "|U| for the ReLU", np.abs(U)),
        ("ReLU squared for ReLU", "the square of the ReLU", np.maximum(U, 0) ** 2),
        ("tanh for ReLU", "tanh for the ReLU", np.tanh(U)),
        *(("leaky ReLU for ReLU", f"a leaky ReLU of slope {slope}", np.where(U > 0, U, slope * U))
          for slope in (0.01, 0.1, 0.2)),
    ):
        yield code, text, R @ W_2 + b_2


def _fuse_gate(H, C, W, b) -> Iterator[Confusion]:
    C = np.zeros_like(H) if C is None else C
    d = H.shape[-1]
    U = H @ W[:d] + C @ W[d:] + b
    G = 1 / (1 + np.exp(-U))
    T = np.tanh(U)
    yield "sign of the gate", "an open gate that keeps the context: G ∘ C + (1 - G) ∘ H", G * C + (1 - G) * H
    for times in (2, 0.5):
        g = 1 / (1 + np.exp(-times * U))
        yield "gate scaled", f"σ({times:g} u) for σ(u)", g * H + (1 - g) * C
    yield "tanh for σ", "a tanh for the gate", T * H + (1 - T) * C
    yield "factor missing", "a context that is not gated: G ∘ H + C", G * H + C
    yield "factor missing", "a token that is not gated: H + (1 - G) ∘ C", H + (1 - G) * C


def _kept(F: Array, mask: Array | None) -> Array:
    return np.broadcast_to(True if mask is None else mask[..., None], F.shape)


def _pool_mean(F, mask=None) -> Iterator[Confusion]:
    keep = _kept(F, mask)
    total, count = np.where(keep, F, 0).sum(-2), keep.sum(-2)
    yield "sum for mean", "the sum of the tokens", total
    yield "scaled", "the sum of the real tokens divided by the number of all", total / max(F.shape[-2], 1)
    yield "scaled", "the sum divided by one less than the number of tokens", total / np.maximum(count - 1, 1)


def _pool_max(F, mask=None) -> Iterator[Confusion]:
    keep = _kept(F, mask)

    def at(places: Array) -> Array:
        """The tokens at these places, one a feature (..., d); 0 where there is no token."""
        return np.where(keep.any(-2), np.take_along_axis(F, places[..., None, :] % F.shape[-2], -2)[..., 0, :], 0)

    largest = np.where(keep, F, -np.inf).argmax(-2)
    yield "sign of the comparison", "the smallest value", at(np.where(keep, F, np.inf).argmin(-2))
    yield "sign of the comparison", "the value farthest from 0", at(np.where(keep, np.abs(F), -1).argmax(-2))
    yield "mask forgotten", "the maximum of the padding too", F.max(-2)
    yield "mask forgotten", "a maximum in which padding counts as 0", np.where(keep, F, 0).max(-2)
    yield "tokens shifted", "the token after the largest", at(largest + 1)
    yield "tokens shifted", "the token before the largest", at(largest - 1)
    one = np.where(keep, F, -1e300).sum(-1).argmax(-1)
    yield "along another axis", "one token for all features, that of the largest sum", at(0 * largest + one[..., None])
    ties = (F == np.where(keep, F, -np.inf).max(-2, keepdims=True)) & keep
    yield "ties not all used", "the sum of all tokens that are the largest", np.where(ties, F, 0).sum(-2)


CONFUSIONS: dict[str, Callable[..., Iterator[Confusion]]] = {
    "l2_normalise": _l2_normalise, "cosine_similarity": _cosine_similarity, "token_cosine": lambda H, C: _pair_scores(H, C),
    "softmax": _softmax, "attention": _attention, "multi_head_attention": _multi_head, "cosine_attention": _cosine_attention,
    "layer_norm": _layer_norm, "feed_forward": _feed_forward, "fuse_gate": _fuse_gate, "pool_mean": _pool_mean,
    "pool_max": _pool_max,
}
