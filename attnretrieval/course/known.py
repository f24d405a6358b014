"""What is known of the equations beyond their numbers: paths, kinks and algebra, for the gradient checker.

Paths (see gradcheck/paths.py): each equation once more, plainly, with every use of an input marked by the name of the path.
Commas separate the tags of a path: a fault that takes all paths with the tag "keys" is called "keys". A path in parentheses
must not exist, such as "(closed ReLU)": `only_slope` adds its slope and not its value.

Kinks (see gradcheck/kinks.py): the distance of every comparison from its tie.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.equations.axes import swap
from attnretrieval.equations.cosine import EPS
from attnretrieval.equations.heads import join_heads, split_heads
from attnretrieval.equations.info_nce import TEMPERATURE_RANGE

UP, DOWN = "numerator", "row term of softmax"
Marked = Callable[..., Array]


def only_slope(x: Array) -> Array:
    """0, with the slope of x."""
    return x - x.real


# --- paths: softmax and attention ------------------------------------------------------------------------------------


def _softmax(S_up: Array, S_down: Array, mask: Array | None) -> Array:
    """exp(S_up) / Σ exp(S_down): the scores above and below the line apart."""
    keep = np.ones(S_up.shape, bool) if mask is None else np.broadcast_to(mask, S_up.shape)
    if S_up.shape[-1] == 0:
        return S_up
    top = np.where(keep, S_up.real, -np.inf).max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    Z = (np.exp(np.where(keep, S_down - top, -np.inf)) * keep).sum(axis=-1, keepdims=True)
    return np.exp(np.where(keep, S_up - top, -np.inf)) * keep / np.where(Z == 0, 1, Z)


def softmax_paths(x: Marked, mask: Array | None = None) -> Array:
    return _softmax(x("S", UP), x("S", DOWN), mask)


def _attend(Q: Callable, K: Callable, V: Array, mask: Array | None) -> Array:
    """Attention in which Q(side) and K(side) are the inputs of the logits above and below the line."""
    up, down = (Q(side) @ swap(K(side)) / math.sqrt(Q(side).shape[-1]) for side in (UP, DOWN))
    return _softmax(up, down, None if mask is None else mask[..., None, :]) @ V


def attention_paths(x: Marked, key_mask: Array | None = None) -> Array:
    return _attend(lambda side: x("Q", side), lambda side: x("K", side), x("V", "values"), key_mask)


def multi_head_paths(x: Marked, heads: int = 1, mask: Array | None = None) -> Array:
    def project(to: str, path: str) -> Array:
        return split_heads(x("X", path) @ x(f"W_{to}", path) + x(f"b_{to}", path), heads)

    mask = None if mask is None else mask[..., None, :]
    Y = _attend(lambda side: project("Q", f"queries, {side}"), lambda side: project("K", f"keys, {side}"),
                project("V", "values"), mask)
    return join_heads(Y) @ x("W_O", "output") + x("b_O", "output")


def _unit(x: Marked, name: str, before: str = "") -> Array:
    """A vector of length 1: the input itself, and its length, are two paths."""
    X, same = x(name, f"{before}direct use"), x(name, f"{before}length")
    return X / np.sqrt((same * same).sum(axis=-1, keepdims=True) + EPS)


def cosine_attention_paths(x: Marked, key_mask: Array | None = None) -> Array:
    def logits(side: str) -> Array:
        return np.exp(x("log_scale", side)) * (_unit(x, "Q", f"{side}, ") @ swap(_unit(x, "K", f"{side}, ")))

    return _softmax(logits(UP), logits(DOWN), None if key_mask is None else key_mask[..., None, :]) @ x("V", "values")


def cross_attention_paths(x: Marked, key_mask: Array | None = None, heads: int = 1) -> Array:
    def project(name: str, to: str, path: str) -> Array:
        W = x(f"W_{to}", path)
        return split_heads(x(name, path) if W is None else x(name, path) @ W, heads)

    def Q(side: str) -> Array:
        return project("H", "Q", f"queries, {side}")

    def K(side: str) -> Array:
        return project("H_other", "K", f"keys, {side}")

    V = project("H_other", "V", "values")
    mask = None if key_mask is None else key_mask[..., None, :]
    if x("log_scale", UP) is None:
        return join_heads(_attend(Q, K, V, mask))

    def logits(side: str) -> Array:
        q, k = Q(side), K(side)
        q, k = (z / np.sqrt((z * z).sum(axis=-1, keepdims=True) + EPS) for z in (q, k))
        return np.exp(x("log_scale", side)) * (q @ swap(k))

    return join_heads(_softmax(logits(UP), logits(DOWN), None if mask is None else mask[..., None, :]) @ V)


# --- paths: layers ---------------------------------------------------------------------------------------------------


def feed_forward_paths(x: Marked) -> Array:
    def U(path: str) -> Array:
        return x("X", path) @ x("W_1", path) + x("b_1", path)

    is_open = U("open ReLU").real > 0
    R = U("open ReLU") * is_open + only_slope(U("(closed ReLU)")) * ~is_open
    return R @ x("W_2", "output") + x("b_2", "output")


def layer_norm_paths(x: Marked, eps: float = 1e-5) -> Array:
    X, mean, deviation = x("X", "direct use"), x("X", "mean"), x("X", "deviation")
    centred = deviation - deviation.mean(axis=-1, keepdims=True)
    r = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    return x("gain", "gain") * (X - mean.mean(axis=-1, keepdims=True)) * r + x("bias", "bias")


def embedding_paths(x: Marked, ids: Array) -> Array:
    flat = ids.reshape(-1)
    last = np.array([i == max(np.flatnonzero(flat == word)) for i, word in enumerate(flat)])
    rows = np.where(last[:, None], x("E", "last occurrence of a word")[flat], x("E", "earlier occurrences of a word")[flat])
    return rows.reshape(*ids.shape, -1)


# --- paths: fusion, pooling, cosine ------------------------------------------------------------------------------------


def fuse_gate_paths(x: Marked) -> Array:
    """F = G_H ∘ H + C - G_C ∘ C, with the gate of the token and that of the context apart."""
    def gate(path: str) -> Array:
        U = x("H", path) @ x("W", path)[:d] + x("b", path)
        if C is not None:
            U = U + x("C", path) @ x("W", path)[d:]
        return 0.5 * (1 + np.tanh(0.5 * U))

    H, C = x("H", "direct use"), x("C", "direct use, all")
    d = H.shape[-1]
    kept = gate("gate, token") * H
    return kept if C is None else kept + C - gate("gate, context") * x("C", "direct use, gated")


def pool_mean_paths(x: Marked, mask: Array | None = None) -> Array:
    F = x("F", "real tokens")
    keep = np.ones(F.shape[:-1], bool) if mask is None else np.broadcast_to(mask, F.shape[:-1])
    weights = 1 / np.maximum(keep.sum(axis=-1, keepdims=True), 1)
    both = np.where(keep[..., None], F, only_slope(x("F", "(masked tokens)")))
    return (weights[..., None] * both).sum(axis=-2)


def pool_max_paths(x: Marked, mask: Array | None = None) -> Array:
    F = x("F", "largest token")
    keep = np.ones(F.shape[:-1], bool) if mask is None else np.broadcast_to(mask, F.shape[:-1])
    rank = np.where(keep[..., None], F.real, -np.inf)
    first = np.arange(F.shape[-2])[:, None] == rank.argmax(axis=-2)[..., None, :]
    chosen = first & keep[..., None]
    largest = np.where(chosen, F, 0).sum(axis=-2)
    masked = np.where(~keep[..., None], only_slope(x("F", "(masked tokens)")), 0).sum(axis=-2)
    others = np.where(~first & keep[..., None], only_slope(x("F", "(tokens that are not the largest)")), 0).sum(axis=-2)
    return largest + masked + others


def pool_weights_paths(x: Marked, mask: Array | None = None) -> Array:
    up, down = (x("F", side) @ x("u", side) / math.sqrt(x("u", side).shape[-1]) for side in (UP, DOWN))
    return _softmax(up, down, mask)


def pool_attention_paths(x: Marked, mask: Array | None = None) -> Array:
    def logits(side: str) -> Array:
        return x("F", f"weights, {side}") @ x("u", f"weights, {side}") / math.sqrt(x("u", f"weights, {side}").shape[-1])

    a = _softmax(logits(UP), logits(DOWN), mask)
    return (a[..., None] * x("F", "values")).sum(axis=-2)


def l2_paths(x: Marked) -> Array:
    return _unit(x, "X")


def cosine_paths(x: Marked) -> Array:
    return _unit(x, "G_t") @ swap(_unit(x, "G_v"))


def token_cosine_paths(x: Marked) -> Array:
    return (_unit(x, "H") * _unit(x, "C")).sum(axis=-1)


# --- paths: objective ------------------------------------------------------------------------------------------------


def info_nce_paths(x: Marked, positives: Array, temperature_range: tuple[float, float] = TEMPERATURE_RANGE) -> Array:
    low, high = (math.log(t) for t in temperature_range)

    def Z(path: str) -> Array:
        l = x("log_temperature", path)
        free = low < float(l.real) < high
        held = l if free else min(max(float(l.real), low), high) + only_slope(x("log_temperature", f"({path}, held)"))
        return x("S", path) / np.exp(held)

    total = 0
    for way, turn in (("text to image", lambda M: M), ("image to text", swap)):
        Y = turn(positives)
        answered = Y.any(axis=1)
        targets = Y / np.maximum(Y.sum(axis=1, keepdims=True), 1)
        up, down = turn(Z(f"{way}, right pairs")), turn(Z(f"{way}, {DOWN}"))
        top = down.real.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(down - top).sum(axis=1)) + top[:, 0]
        total = total + ((log_sum - (targets * up).sum(axis=1)) * answered).sum() / answered.sum()
    return total / 2


def triplet_paths(x: Marked, positives: Array, margin: float = 0.2, violations: str = "sum") -> Array:
    """A loop over all pairs. What is no violation enters by its slope alone, in parentheses."""
    total = 0.0
    for way, turn in (("text to image", lambda M: M), ("image to text", swap)):
        up, down = turn(x("S", f"{way}, negatives")), turn(x("S", f"{way}, right pairs"))
        extra = {name: only_slope(turn(x("S", f"({way}, {name})")))
                 for name in ("hinges not violated", "captions of the same image", "not the hardest")}
        Y = turn(positives)
        for c, i in np.argwhere(Y):
            V = margin + up[c].real - down[c, i].real
            active = (V > 0) & ~Y[c]
            weight = 1 / max((~Y[c]).sum(), 1) if violations == "mean" else 1.0
            left = active.copy()
            if violations == "hardest":
                left &= np.arange(len(V)) == np.where(active, V, -np.inf).argmax()
            total = total + weight * ((margin + up[c] - down[c, i]) * left).sum()
            for name, where in (("hinges not violated", (V <= 0) & ~Y[c]), ("not the hardest", active & ~left),
                                ("captions of the same image", (V > 0) & Y[c] & (np.arange(len(V)) != i))):
                total = total + weight * ((extra[name][c] - extra[name][c, i]) * where).sum()
    return total / positives.sum()


# --- kinks -----------------------------------------------------------------------------------------------------------


def feed_forward_kinks(X: Array, W_1: Array, b_1: Array, **_) -> Array:
    """How far each hidden feature is from the kink of the ReLU."""
    return X @ W_1 + b_1


def pool_max_kinks(F: Array, mask: Array | None = None) -> Array:
    """How far the second largest token is from the largest, feature by feature."""
    keep = np.ones(F.shape[:-1], bool) if mask is None else np.broadcast_to(mask, F.shape[:-1])
    if F.shape[-2] < 2:
        return np.array([])
    first, second = np.moveaxis(np.sort(np.where(keep[..., None], F, -np.inf), axis=-2)[..., -1:-3:-1, :], -2, 0)
    with np.errstate(invalid="ignore"):
        gaps = first - second
    return gaps[np.isfinite(gaps)]


def triplet_kinks(S: Array, positives: Array, margin: float = 0.2, violations: str = "sum") -> Array:
    """How far each hinge is from 0, and for "hardest" the two worst negatives from each other."""
    gaps = []
    for scores, Y in ((S, positives), (S.T, positives.T)):
        for c, i in np.argwhere(Y):
            V = np.sort(margin + scores[c, ~Y[c]] - scores[c, i])
            gaps += list(V)
            if violations == "hardest" and len(V) > 1 and V[-1] > 0:
                gaps.append(V[-1] - V[-2])
    return np.array(gaps)


def info_nce_kinks(log_temperature: Array, temperature_range: tuple[float, float] = TEMPERATURE_RANGE, **_) -> Array:
    """How far the temperature is from both ends of its range."""
    return np.array([float(log_temperature) - math.log(t) for t in temperature_range])
