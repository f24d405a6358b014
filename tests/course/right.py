"""Right answers: every exercise as a student writes it with arrays, and as one writes it with loops."""

from __future__ import annotations

import math

import numpy as np


def swap(X):
    return X.swapaxes(-1, -2)


# --- with arrays -------------------------------------------------------------------------------------------------------


def pad(sequences):
    lengths = np.array([len(X) for X in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros((*mask.shape, sequences[0].shape[1]))
    padded[mask] = np.concatenate(sequences)
    return padded, mask


def regions_from_feature_map(F):
    return F.reshape(F.shape[0], -1).T


def mask_padding(S, key_mask):
    return np.where(key_mask[..., None, :], S, -np.inf)


def linear_backward(d_Y, cache):
    X, W = cache.X, cache.W
    rows = d_Y.reshape(-1, W.shape[1])
    return {"d_X": d_Y @ W.T, "d_W": X.reshape(-1, W.shape[0]).T @ rows, "d_b": rows.sum(axis=0)}


def attention_scores(Q, K):
    return Q @ swap(K) / np.sqrt(Q.shape[-1])


def softmax(S, mask=None):
    if mask is not None:
        S = np.where(mask, S, -np.inf)
    top = S.max(axis=-1, keepdims=True)
    E = np.exp(S - np.where(np.isfinite(top), top, 0))
    Z = E.sum(axis=-1, keepdims=True)
    return E / np.where(Z == 0, 1, Z)


def softmax_backward(d_A, A):
    return A * (d_A - (d_A * A).sum(axis=-1, keepdims=True))


def attention(Q, K, V, key_mask=None):
    A = softmax(attention_scores(Q, K), None if key_mask is None else key_mask[..., None, :])
    return A @ V, A


def attention_backward(d_Y, cache):
    Q, K, V, A = cache
    d_S = softmax_backward(d_Y @ swap(V), A) / np.sqrt(Q.shape[-1])
    return d_S @ K, swap(d_S) @ Q, swap(A) @ d_Y


def split_heads(X, heads):
    return swap(X.reshape(*X.shape[:-1], heads, -1).swapaxes(-1, -2)).swapaxes(-2, -3)


def cross_attention(H, H_other, key_mask=None):
    return attention(H, H_other, H_other, key_mask)[0]


def contexts(H_t, H_v, word_mask, region_mask):
    return cross_attention(H_t, H_v, region_mask), cross_attention(H_v, H_t, word_mask)


def fuse_gate(H, C, W, b):
    G = 1 / (1 + np.exp(-(np.concatenate([H, C], axis=-1) @ W + b)))
    return G * H + (1 - G) * C


def fuse_gate_backward(d_F, cache):
    H, C, W, G = cache
    d = H.shape[-1]
    d_U = d_F * (H - C) * G * (1 - G)
    X = np.concatenate([H, C], axis=-1).reshape(-1, 2 * d)
    d_X = d_U @ W.T
    return d_F * G + d_X[..., :d], d_F * (1 - G) + d_X[..., d:], X.T @ d_U.reshape(-1, d), d_U.reshape(-1, d).sum(axis=0)


def pool_mean_backward(d_g, cache):
    w = cache.mask / np.maximum(cache.mask.sum(axis=-1, keepdims=True), 1)
    return w[..., :, None] * d_g[..., None, :]


def pool_attention(F, u, mask=None):
    a = softmax(F @ u / np.sqrt(len(u)), mask)
    return (a[..., None] * F).sum(axis=-2)


def cosine_similarity_backward(d_S, cache):
    def back(d, X, r):
        return r * (d - X * (d * X).sum(axis=-1, keepdims=True))
    return back(d_S @ cache.V_hat, cache.T_hat, cache.r_t), back(d_S.T @ cache.T_hat, cache.V_hat, cache.r_v)


def triplet_loss(S, positives, margin=0.2):
    c, i = np.nonzero(positives)
    own = S[c, i][:, None]
    images = np.maximum(0, margin + S[c] - own) * ~positives[c]
    captions = np.maximum(0, margin + S.T[i] - own) * ~positives.T[i]
    return (images.sum() + captions.sum()) / len(c)


def info_nce(S, log_temperature, positives):
    def one_way(Z, positives):
        Z = Z - Z.max(axis=1, keepdims=True)
        log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
        return -(positives / positives.sum(axis=1, keepdims=True) * log_P).sum() / len(Z)

    Z = S / np.exp(log_temperature)
    return (one_way(Z, positives) + one_way(Z.T, positives.T)) / 2


def info_nce_backward(d_L, cache):
    Y = cache.positives / cache.positives.sum(axis=1, keepdims=True)
    X = cache.positives / cache.positives.sum(axis=0, keepdims=True)
    C, I = cache.S.shape
    d_S = d_L * ((cache.P - Y) / C + (cache.R - X) / I) / (2 * cache.tau)
    return d_S, -(d_S * cache.S).sum()


def recall_at_k(S, image_of, k):
    own = np.take_along_axis(S, image_of[:, None], axis=1)
    earlier = np.arange(S.shape[1]) < image_of[:, None]
    return 100 * np.mean(((S > own) | ((S == own) & earlier)).sum(axis=1) < k)


def rank_of_first_match(S, image_of):
    order = np.argsort(-S, axis=0, kind="stable")
    return (image_of[order] == np.arange(S.shape[1])).argmax(axis=0)


def median_rank(ranks):
    return np.floor(np.median(ranks)) + 1


def rerank(order, scores, k):
    return np.concatenate([order[:k][np.argsort(-scores, kind="stable")], order[k:]])


def pointing_accuracy(A, boxes, centres):
    points = centres[A.argmax(axis=1)]
    hits = [((b[:, :2] <= p) & (p <= b[:, 2:])).all(axis=1).any() for p, b in zip(points, boxes, strict=True)]
    return np.mean(hits)


def read_captions(text):
    captions = {}
    for line in text.splitlines():
        if line.strip():
            key, caption = line.split("\t", 1)
            captions.setdefault(key[:key.rindex("#")], []).append(caption)
    return captions


def split_by_image(image_of, test_images, rng):
    chosen = rng.choice(np.unique(image_of), test_images, replace=False)
    in_test = np.isin(image_of, chosen)
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def near_duplicates(G, in_test, threshold):
    U = G / np.linalg.norm(G, axis=1, keepdims=True)
    found = (U @ U.T >= threshold) & ~in_test[:, None] & in_test
    return [(int(i), int(j)) for i, j in np.argwhere(found)]


def take_rows_backward(d_T, rows, count):
    d_G = np.zeros((count, d_T.shape[1]))
    np.add.at(d_G, rows, d_T)
    return d_G


def bootstrap_interval(hits, image_of, draws):
    found, told = np.bincount(image_of, weights=hits), np.bincount(image_of)
    recalls = 100 * found[draws].sum(axis=1) / told[draws].sum(axis=1)
    return tuple(np.percentile(recalls, [2.5, 97.5]))


ARRAYS = {name: value for name, value in list(globals().items()) if callable(value) and name != "swap"}


# --- with loops --------------------------------------------------------------------------------------------------------


def over_batch(function, out_of, *arrays):
    """`function` on each matrix of a batch, the results stacked."""
    if arrays[0].ndim == out_of:
        return function(*arrays)
    results = [over_batch(function, out_of, *(x[i] for x in arrays)) for i in range(len(arrays[0]))]
    return tuple(map(np.array, zip(*results, strict=True))) if isinstance(results[0], tuple) else np.array(results)


class Loops:
    @staticmethod
    def pad(sequences):
        n, d = max(len(X) for X in sequences), sequences[0].shape[1]
        X, mask = np.zeros((len(sequences), n, d)), np.zeros((len(sequences), n), dtype=bool)
        for i, words in enumerate(sequences):
            X[i, :len(words)] = words
            mask[i, :len(words)] = True
        return X, mask

    @staticmethod
    def regions_from_feature_map(F):
        c, h, w = F.shape
        return [[F[i, y, x] for i in range(c)] for y in range(h) for x in range(w)]

    @staticmethod
    def mask_padding(S, key_mask):
        out = S.copy()
        for i in np.ndindex(*S.shape):
            if not key_mask[i[:-2] + i[-1:]]:
                out[i] = -math.inf
        return out

    @staticmethod
    def linear_backward(d_Y, cache):
        X, W = cache
        d_X, d_W, d_b = np.zeros_like(X), np.zeros_like(W), np.zeros(W.shape[1])
        for i in np.ndindex(*X.shape[:-1]):
            for o in range(W.shape[1]):
                d_b[o] += d_Y[i][o]
                for k in range(W.shape[0]):
                    d_X[i][k] += d_Y[i][o] * W[k, o]
                    d_W[k, o] += d_Y[i][o] * X[i][k]
        return d_X, d_W, d_b

    @staticmethod
    def attention_scores(Q, K):
        return over_batch(lambda Q, K: np.array([[sum(q * k) / len(q) ** 0.5 for k in K] for q in Q]), 2, Q, K)

    @staticmethod
    def softmax(S, mask=None):
        A = np.zeros(S.shape)
        for row in np.ndindex(*S.shape[:-1]):
            real = [j for j in range(S.shape[-1]) if mask is None or mask[row][j]]
            top = max((S[row][j] for j in real), default=0)
            total = sum(math.exp(S[row][j] - top) for j in real)
            for j in real:
                A[row][j] = math.exp(S[row][j] - top) / total
        return A

    @staticmethod
    def softmax_backward(d_A, A):
        d_S = np.zeros(A.shape)
        for row in np.ndindex(*A.shape[:-1]):
            jacobian = np.diag(A[row]) - np.outer(A[row], A[row])
            d_S[row] = jacobian @ d_A[row]
        return d_S

    @staticmethod
    def attention(Q, K, V, key_mask=None):
        if key_mask is None:
            key_mask = np.ones(K.shape[:-1], bool)

        def one(Q, K, V, mask):
            Y = np.zeros((len(Q), V.shape[1]))
            for i, q in enumerate(Q):
                weights = [math.exp(q @ k / math.sqrt(len(q))) * real for k, real in zip(K, mask, strict=True)]
                for w, v in zip(weights, V, strict=True):
                    Y[i] += w / sum(weights) * v if w else 0
            return Y
        return np.array([one(*each) for each in zip(Q, K, V, key_mask, strict=True)]) if Q.ndim == 3 else one(Q, K, V, key_mask)

    @staticmethod
    def attention_backward(d_Y, cache):
        def one(d_Y, Q, K, V, A):
            d_Q, d_K, d_V = np.zeros_like(Q), np.zeros_like(K), np.zeros_like(V)
            for i in range(len(Q)):
                d_A = [d_Y[i] @ v for v in V]
                mean = sum(a * d for a, d in zip(A[i], d_A, strict=True))
                for j in range(len(K)):
                    d_V[j] += A[i, j] * d_Y[i]
                    d_S = A[i, j] * (d_A[j] - mean) / math.sqrt(Q.shape[1])
                    d_Q[i] += d_S * K[j]
                    d_K[j] += d_S * Q[i]
            return d_Q, d_K, d_V
        return over_batch(one, 2, d_Y, cache.Q, cache.K, cache.V, cache.A)

    @staticmethod
    def split_heads(X, heads):
        return np.stack(np.split(X, heads, axis=-1), axis=-3)

    @staticmethod
    def cross_attention(H, H_other, key_mask=None):
        return Loops.attention(H, H_other, H_other, key_mask)

    @staticmethod
    def contexts(H_t, H_v, word_mask, region_mask):
        S = H_t @ H_v.T / math.sqrt(H_t.shape[1])
        to_regions, to_words = np.exp(S) * region_mask, np.exp(S.T) * word_mask
        C_t = [(w / w.sum()) @ H_v for w in to_regions]
        return [np.array(C_t), np.array([(w / w.sum()) @ H_t for w in to_words])]

    @staticmethod
    def fuse_gate(H, C, W, b):
        F = np.zeros(H.shape)
        for token in np.ndindex(*H.shape[:-1]):
            for j in range(H.shape[-1]):
                u = sum(x * w for x, w in zip([*H[token], *C[token]], W[:, j], strict=True)) + b[j]
                gate = 1 / (1 + math.exp(-u))
                F[token][j] = gate * H[token][j] + (1 - gate) * C[token][j]
        return F

    @staticmethod
    def fuse_gate_backward(d_F, cache):
        H, C, W, G = cache
        d = H.shape[-1]
        d_H, d_C, d_W, d_b = np.zeros(H.shape), np.zeros(C.shape), np.zeros(W.shape), np.zeros(d)
        for t in np.ndindex(*H.shape[:-1]):
            d_U = d_F[t] * (H[t] - C[t]) * G[t] * (1 - G[t])
            d_H[t] = d_F[t] * G[t] + W[:d] @ d_U
            d_C[t] = d_F[t] * (1 - G[t]) + W[d:] @ d_U
            d_W += np.outer(np.r_[H[t], C[t]], d_U)
            d_b += d_U
        return {"d_H": d_H, "d_C": d_C, "d_W": d_W, "d_b": d_b}

    @staticmethod
    def pool_mean_backward(d_g, cache):
        d_F = np.zeros(cache.F.shape)
        for row in np.ndindex(*cache.mask.shape):
            if cache.mask[row]:
                d_F[row] = d_g[row[:-1]] / sum(cache.mask[row[:-1]])
        return d_F

    @staticmethod
    def pool_attention(F, u, mask=None):
        def one(F, mask):
            weights = [math.exp(f @ u / math.sqrt(len(u))) if real else 0 for f, real in zip(F, mask, strict=True)]
            return sum(w * f for w, f in zip(weights, F, strict=True)) / (sum(weights) or 1)
        return over_batch(lambda F, mask: one(F, mask), 2, F, mask) if F.ndim == 2 else np.array(
            [one(*each) for each in zip(F, mask, strict=True)])

    @staticmethod
    def cosine_similarity_backward(d_S, cache):
        T, V, r_t, r_v = cache
        d_t, d_v = np.zeros(T.shape), np.zeros(V.shape)
        for c, t in enumerate(T):
            for i, v in enumerate(V):
                cosine = t @ v
                d_t[c] += d_S[c, i] * r_t[c] * (v - cosine * t)
                d_v[i] += d_S[c, i] * r_v[i] * (t - cosine * v)
        return d_t, d_v

    @staticmethod
    def triplet_loss(S, positives, margin=0.2):
        total = 0.0
        for c, i in zip(*np.nonzero(positives), strict=True):
            total += sum(max(0, margin + S[c, j] - S[c, i]) for j in range(S.shape[1]) if not positives[c, j])
            total += sum(max(0, margin + S[k, i] - S[c, i]) for k in range(S.shape[0]) if not positives[k, i])
        return total / positives.sum()

    @staticmethod
    def info_nce(S, log_temperature, positives):
        tau, total = math.exp(log_temperature), 0.0
        for scores, right in ((S, positives), (S.T, positives.T)):
            for row, answers in zip(scores / tau, right, strict=True):
                top = max(row)
                total += (top + math.log(sum(math.exp(z - top) for z in row)) - row[answers].mean()) / len(scores) / 2
        return total

    @staticmethod
    def info_nce_backward(d_L, cache):
        S, tau, positives, P, R = cache
        d_S = np.zeros(S.shape)
        for c, i in np.ndindex(*S.shape):
            d_t = (P[c, i] - positives[c, i] / positives[c].sum()) / S.shape[0]
            d_v = (R[c, i] - positives[c, i] / positives[:, i].sum()) / S.shape[1]
            d_S[c, i] = d_L * (d_t + d_v) / 2 / tau
        return {"d_S": d_S, "d_log_temperature": -sum(d * s for d, s in zip(d_S.ravel(), S.ravel(), strict=True))}

    @staticmethod
    def recall_at_k(S, image_of, k):
        hits = 0
        for c, i in enumerate(image_of):
            hits += i in sorted(range(S.shape[1]), key=lambda j, c=c: -S[c, j])[:k]
        return 100 * hits / len(S)

    @staticmethod
    def rank_of_first_match(S, image_of):
        ranks = []
        for i in range(S.shape[1]):
            order = sorted(range(len(S)), key=lambda c, i=i: (-S[c, i], c))
            ranks.append(next(rank for rank, c in enumerate(order) if image_of[c] == i))
        return ranks

    @staticmethod
    def median_rank(ranks):
        ranks = sorted(ranks)
        return (ranks[(len(ranks) - 1) // 2] + ranks[len(ranks) // 2]) // 2 + 1

    @staticmethod
    def rerank(order, scores, k):
        best = sorted(zip(-scores, range(k), strict=True))
        return [order[place] for _, place in best] + list(order[k:])

    @staticmethod
    def pointing_accuracy(A, boxes, centres):
        hits = 0
        for a, listed in zip(A, boxes, strict=True):
            x, y = centres[list(a).index(max(a))]
            hits += any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in listed)
        return hits / len(A)

    @staticmethod
    def read_captions(text):
        captions = {}
        for line in text.replace("\r\n", "\n").split("\n"):
            if not line:
                continue
            tab = line.index("\t")
            name = "#".join(line[:tab].split("#")[:-1])
            captions[name] = captions.get(name, []) + [line[tab + 1:]]
        return captions

    @staticmethod
    def split_by_image(image_of, test_images, rng):
        images = list(set(image_of.tolist()))
        rng.shuffle(images)
        train = [c for c, i in enumerate(image_of) if i in images[test_images:]]
        return train, [c for c, i in enumerate(image_of) if i in images[:test_images]]

    @staticmethod
    def near_duplicates(G, in_test, threshold):
        pairs = []
        for i in range(len(G)):
            for j in range(len(G)):
                alike = sum(G[i] * G[j]) / (sum(G[i] ** 2) * sum(G[j] ** 2)) ** 0.5
                if alike >= threshold and in_test[j] and not in_test[i]:
                    pairs.append((i, j))
        return sorted(pairs)

    @staticmethod
    def take_rows_backward(d_T, rows, count):
        taken = np.arange(count)[:, None] == rows           # (count, P), as a matrix: T = takenᵀ G
        return taken.astype(float) @ d_T

    @staticmethod
    def bootstrap_interval(hits, image_of, draws):
        recalls = []
        for row in draws:
            found = [hit for i in row for hit, image in zip(hits, image_of, strict=True) if image == i]
            recalls.append(100 * sum(found) / len(found))
        return [np.quantile(recalls, 0.025), np.quantile(recalls, 0.975)]


LOOPS = {name: getattr(Loops, name) for name in vars(Loops) if not name.startswith("__")}
