"""Wrong answers: a right one of right.py with one part of its text replaced, and words of the message that must come."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from tests.course import right

WRONG: dict[str, list[tuple[str, str, str]]] = {
    "pad": [
        ("return padded, mask", "return padded, ~mask", "mask is inverted"),
        ("np.zeros((", "np.ones((", "expected 0, got 1"),
        ("lengths.max()) < lengths[:, None]", "lengths.max())[::-1] < lengths[:, None]", "padding stands in front"),
        ("return padded, mask", "return padded, mask.astype(float)", "a mask is an array of bool"),
        ("return padded, mask", "return padded", "expected 2 results"),
    ],
    "regions_from_feature_map": [
        ("F.reshape(F.shape[0], -1).T", "F.reshape(-1, F.shape[0])", "reshape alone mixes the channels"),
        ("F.reshape(F.shape[0], -1).T", "F.swapaxes(1, 2).reshape(F.shape[0], -1).T", "cells run down the columns"),
        (".T", "", "transpose it"),
    ],
    "mask_padding": [
        ("np.where(key_mask[..., None, :], S, -np.inf)", "S * key_mask[..., None, :]", "a score of 0 still gets weight"),
        ("S, -np.inf", "-np.inf, S", "the real keys are masked"),
        ("-np.inf", "-1e9", "not minus infinity"),
        ("[..., None, :]", "[..., None]", "raised ValueError"),
        ("return np.where(key_mask[..., None, :], S, -np.inf)",
         "S[~np.broadcast_to(key_mask[..., None, :], S.shape)] = -np.inf\n    return S", "writes into an array"),
    ],
    "linear_backward": [
        ("d_Y @ W.T", "d_Y @ W", "raised ValueError"),
        ("rows.sum(axis=0)", "rows.mean(axis=0)", "a mean over"),
        ('"d_b": rows.sum(axis=0)', '"b": rows.sum(axis=0)', "named d_ and its name"),
        ("X.reshape(-1, W.shape[0]).T @ rows", "-X.reshape(-1, W.shape[0]).T @ rows", "sign"),
    ],
    "attention_scores": [
        (" / np.sqrt(Q.shape[-1])", "", "does not divide by √d"),
        ("np.sqrt(Q.shape[-1])", "Q.shape[-1]", "divides by d, not by √d"),
        ("Q.shape[-1]", "K.shape[-2]", "the number of keys, not of features"),
        ("Q @ swap(K)", "K @ swap(Q)", "it is Sᵀ"),
    ],
    "softmax": [
        ("axis=-1", "axis=0", "softmax along axis 0"),
        ("np.where(np.isfinite(top), top, 0)", "0", "not every value is finite"),
        ("S = np.where(mask, S, -np.inf)", "S = S * mask", "masked"),
        ("S = np.where(mask, S, -np.inf)", "pass", "softmax without its mask"),
    ],
    "softmax_backward": [
        (" - (d_A * A).sum(axis=-1, keepdims=True)", "", "row term"),
        ("A * (d_A", "(d_A", "A"),
        ("axis=-1, keepdims=True", "", "row"),
        ("A * (d_A", "-A * (d_A", "sign"),
    ],
    "attention": [
        ("attention_scores(Q, K)", "Q @ swap(K)", "does not divide by √d"),
        ("A = softmax(attention_scores(Q, K), None if key_mask is None else key_mask[..., None, :])",
         "A = softmax(attention_scores(Q, K))", "the mask is not used"),
        ("A = softmax(attention_scores(Q, K), None if key_mask is None else key_mask[..., None, :])",
         "A = swap(softmax(swap(attention_scores(Q, K))))", "softmax over the queries"),
        ("return A @ V, A", "A @ V", "is its return missing?"),
    ],
    "attention_backward": [
        (" / np.sqrt(Q.shape[-1])", "", "is the 1/√"),
        ("softmax_backward(d_Y @ swap(V), A)", "d_Y @ swap(V) * A", "row term"),
        ("return d_S @ K, swap(d_S) @ Q,", "return swap(d_S) @ Q, d_S @ K,", "shape"),
        ("swap(A) @ d_Y", "swap(A) @ V", "raised ValueError"),
        ("return d_S", "return -d_S", "sign"),
    ],
    "split_heads": [
        (r"swap(X.reshape(*X.shape[:-1], heads, -1).swapaxes(-1, -2)).swapaxes(-2, -3)",
         "X.reshape(*X.shape[:-2], heads, X.shape[-2], -1)", "reshape alone mixes tokens"),
        (".swapaxes(-2, -3)", "", "stands behind the tokens"),
        ("swap(X.reshape(*X.shape[:-1], heads, -1).swapaxes(-1, -2))", "swap(X.reshape(*X.shape[:-1], -1, heads))",
         "every heads-th feature"),
    ],
    "cross_attention": [
        ("(H, H_other, H_other, key_mask)", "(H, H, H)", "the values are the tokens themselves"),
        ("key_mask)[0]", "key_mask)[0] + H", "it adds H"),
        ("H_other, key_mask)[0]", "H_other)[0]", "mask"),
        ("(H, H_other, H_other, key_mask)", "(H_other, H, H)", "shape"),
    ],
    "contexts": [
        ("cross_attention(H_t, H_v, region_mask), cross_attention(H_v, H_t, word_mask)",
         "cross_attention(H_v, H_t, word_mask), cross_attention(H_t, H_v, region_mask)", "the two contexts are exchanged"),
        ("H_v, region_mask)", "H_v)", "mask of the regions is not used"),
        ("cross_attention(H_v, H_t, word_mask)", "swap(attention(H_t, H_v, H_v, region_mask)[1]) @ H_t",
         "A_v2t is not the transpose of A_t2v"),
        ("cross_attention(H_t, H_v, region_mask), cross_attention(H_v, H_t, word_mask)",
         "cross_attention(H_t, H_t, word_mask), cross_attention(H_v, H_v, region_mask)", "self-attention"),
    ],
    "fuse_gate": [
        ("G * H + (1 - G) * C", "G * C + (1 - G) * H", "an open gate that keeps the context"),
        ("(1 - G) * C", "C", "a context that is not gated"),
        ("G = 1 / (1 + np.exp(-(np.concatenate([H, C], axis=-1) @ W + b)))",
         "G = np.tanh(np.concatenate([H, C], axis=-1) @ W + b)", "a tanh for the gate"),
    ],
    "fuse_gate_backward": [
        ("d_F * G + d_X[..., :d]", "d_F * G", "d_H"),
        (" * G * (1 - G)\n", "\n", "W"),
        ("(H - C)", "H", "elements are wrong"),
    ],
    "pool_mean_backward": [
        ("cache.mask / np.maximum(cache.mask.sum(axis=-1, keepdims=True), 1)", "cache.mask * 1.0", "times the right value"),
        ("cache.mask / np.maximum(cache.mask.sum(axis=-1, keepdims=True), 1)",
         "np.ones(cache.mask.shape) / cache.mask.shape[-1]", "mask"),
        ("cache.mask.sum(axis=-1, keepdims=True)", "cache.mask.shape[-1]", "right value"),
    ],
    "pool_attention": [
        (" / np.sqrt(len(u))", "", "√"),
        (", mask)", ")", "mask"),
        ("(a[..., None] * F).sum(axis=-2)", "F.mean(axis=-2)", "that is the mean"),
    ],
    "cosine_similarity_backward": [
        (" - X * (d * X).sum(axis=-1, keepdims=True)", "", "along"),
        ("r * (d", "(d", "right value"),
        ("back(d_S.T @ cache.T_hat, cache.V_hat, cache.r_v)", "back(d_S.T @ cache.T_hat, cache.V_hat, 1)", "G_v"),
    ],
    "triplet_loss": [
        ("images.sum() + captions.sum()", "images.sum()", "V alone"),
        (" / len(c)", "", "a sum over the pairs"),
        ("np.maximum(0, margin + S[c] - own) * ~positives[c]", "np.maximum(0, margin + S[c] - own)",
         "the right images count as wrong ones"),
        ("margin + S", "S", "a margin of 0"),
    ],
    "info_nce": [
        (" + one_way(Z.T, positives.T)) / 2", ")", "it is L_t alone"),
        ("S / np.exp(log_temperature)", "S / log_temperature", "τ is exp(log_temperature)"),
        (" / 2", "", "the sum of both directions"),
    ],
    "info_nce_backward": [
        ("-(d_S * cache.S).sum()", "(d_S * cache.S).sum()", "sign"),
        ("-(d_S * cache.S).sum()", "-(d_S * cache.S).sum() / cache.tau", "log_temperature"),
        (" / (2 * cache.tau)", " / 2", "right value"),
        ("cache.R - X", "cache.R", "elements are wrong"),
    ],
    "recall_at_k": [
        ("(S > own) | ((S == own) & earlier)", "S > own", "you count ties as hits"),
        ("np.mean(((S > own) | ((S == own) & earlier)).sum(axis=1) < k)",
         "np.mean([np.mean((((S > own) | ((S == own) & earlier)).sum(axis=1) < k)[image_of == i]) for i in range(S.shape[1])])",
         "recall is averaged over images, not over captions"),
        ("100 * ", "", "told in percent"),
        ("< k)", "<= k)", "ranks count from 0"),
        ("S > own", "S < own", "the largest must"),
    ],
    "rank_of_first_match": [
        (".argmax(axis=0)", ".argmax(axis=0) + 1", "ranks count from 0 here"),
        ("-S", "S", "the largest must"),
        ("return (image_of[order] == np.arange(S.shape[1])).argmax(axis=0)",
         "return len(S) - 1 - (image_of[order] == np.arange(S.shape[1]))[::-1].argmax(axis=0)", "the last of its captions"),
        ("order = ", "return np.argsort(np.argsort(-S[np.arange(len(S)), image_of]))\n    order = ", "shape"),
    ],
    "median_rank": [
        (" + 1", "", "papers from 1"),
        ("np.floor(np.median(ranks))", "np.median(ranks)", "the floor is missing"),
        ("np.floor(np.median(ranks))", "np.mean(ranks)", "the mean rank"),
        ("np.floor", "np.ceil", "rounded up"),
    ],
    "rerank": [
        ("-scores", "scores", "the largest must"),
        ("order[:k][np.argsort(-scores, kind=\"stable\")]", "np.argsort(-scores, kind=\"stable\")", "places, not ids"),
        (", order[k:]]", "]", "after the first k are lost"),
        ("np.argsort(-scores, kind=\"stable\")", "np.argsort(scores, kind=\"stable\")[::-1]",
         "equal scores change their order"),
    ],
    "pointing_accuracy": [
        (".all(axis=1).any()", ".all(axis=1)[0]", "the first box alone"),
        ("A.argmax", "A.argmin", "the smallest weight"),
        ("points = centres[", "points = centres[:, ::-1][", "x and y are exchanged"),
        ("(b[:, :2] <= p) & (p <= b[:, 2:])", "(b[:, :2] < p) & (p < b[:, 2:])", "on the edge of a box"),
        ("np.mean(hits)", "100 * np.mean(hits)", "from 0 to 1"),
    ],
    "read_captions": [
        ('key[:key.rindex("#")]', "key", "the number is still part of the name"),
        ('key[:key.rindex("#")]', 'key.split("#")[0]', "cut at its first #"),
        ("text.splitlines()", 'text.split("\\n")', "line ends of Windows"),
        ("captions.setdefault(key[:key.rindex(\"#\")], []).append(caption)", "captions[key[:key.rindex(\"#\")]] = [caption]",
         "only the last caption"),
        ('line.split("\\t", 1)', "line.split()[:2]", "cut at its spaces"),
    ],
    "split_by_image": [
        ("chosen = rng.choice(np.unique(image_of), test_images, replace=False)\n    in_test = np.isin(image_of, chosen)",
         "in_test = rng.permutation(len(image_of)) < test_images", "draw images, not captions"),
        ("rng.choice(np.unique(image_of), test_images, replace=False)", "np.arange(test_images)", "not drawn at random"),
        ("rng.choice", "np.random.default_rng().choice", "from the rng that is passed"),
        ("np.flatnonzero(~in_test), np.flatnonzero(in_test)", "np.flatnonzero(in_test), np.flatnonzero(~in_test)",
         "train and test are exchanged"),
        ("np.flatnonzero(~in_test)", "np.flatnonzero(~in_test)[:-1]", "captions are lost"),
    ],
}


def wrong(name: str, old: str, new: str) -> Callable:
    """The right answer with `old` replaced by `new`."""
    source = inspect.getsource(getattr(right, name))
    assert old in source, f"{name} has no {old!r}"
    namespace = dict(vars(right))
    exec(re.sub(re.escape(old), lambda _: new, source), namespace)
    return namespace[name]
