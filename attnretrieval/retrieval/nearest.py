"""The items of largest cosine with each query, exactly, for little more than the product that it takes.

    cosines    the plain form: c of every query with every item, summed in float64

    nearest    a block of items at a time:
               (1)  S = r (G Q̂ᵀ)      in the gallery's dtype; rows of Q̂ have length 1, r = 1/‖g‖ of each item
               (2)  candidates         where S ≥ cut
               (3)  c                  of the candidates alone, as in the plain form
               (4)  best               the k largest c of each query among best and candidates; equals by lower id

Why it gives what the plain form and a full sort would give: the product (1) errs by at most d·u·‖g‖, whatever the order of
the sum, with u = 2⁻²⁴ in float32; r by (d/2 + 3) u of itself; c, as a float32, by 2⁻²⁵. So |S - c| ≤ ε = 2 (d + 8) u + 2⁻²⁴.

- When k items are known with c ≥ c_k, an item with S < c_k - ε has c < c_k and cannot be among the best: cut = c_k - ε.
- Before that, let M be a number that k of the S of a query reach. Those k have c ≥ M - ε, and an item with S < M - 2ε has less:
  cut = M - 2ε. M is the k-th largest of the maxima of groups of items. Maxima cost a fraction of a partition of all S.

The block is the largest array: memory does not grow with queries × items. The sizes below may be changed.
"""

from __future__ import annotations

import numpy as np

from attnretrieval.backend import Array, to_host
from attnretrieval.equations.cosine import EPS, l2_normalise
from attnretrieval.shapes import ShapeError

QUERIES = 1024              # of a block
SCORES = 4_000_000          # queries × items of a block, where that is at least ITEMS items
ITEMS = 1024
FEW = 4                     # queries for which a dot product with each item is faster than a matrix product
PAIRS = 512                 # candidates turned to float64 at once: what fits the cache
PLAIN_ITEMS = 8192          # items turned to float64 at once in the plain form

Found = tuple[np.ndarray, np.ndarray, np.ndarray]       # query, item and cosine, an entry for each


class CosineIndex:
    """Vectors G (N, d), and what a search needs of them besides."""

    def __init__(self, G: Array) -> None:
        self.G = np.asarray(to_host(G))
        with np.errstate(over="ignore"):
            squares = np.vecdot(self.G, self.G)
        if not np.isfinite(squares).all():
            item = int(np.flatnonzero(~np.isfinite(squares))[0])
            raise ShapeError(f"g of item {item} holds NaN, or is longer than {self.G.dtype} can square; index again")
        self.r = 1 / np.sqrt(squares + EPS)
        self.error = 2 * (self.G.shape[1] + 8) * float(np.finfo(self.G.dtype).eps) / 2 + 2.0**-24      # ε

    def nearest(self, Q: Array, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ids (Q, k) of the k items of largest cosine, best first, equals by lower id; and their cosines (Q, k) float32."""
        Q = to_host(Q)
        parts = [self._nearest(Q[start:start + QUERIES], k) for start in range(0, len(Q), QUERIES)]
        ids, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ids, scores

    def _nearest(self, Q: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        Q_hat = l2_normalise(Q.astype(np.float64))[0]
        Q_low, count = Q_hat.astype(self.G.dtype), len(Q)
        block = max(ITEMS, SCORES // count)
        buffer = np.empty((min(block, len(self.G)), count), self.G.dtype)
        found: list[Found] = []
        waiting, cut = 0, None
        for start in range(0, len(self.G), block):
            G = self.G[start:start + block]
            S = buffer[:len(G)]
            r = self.r[start:start + block, None]
            if count > G.shape[1]:                                                      # (1), r where it is less work
                np.matmul(r * G, Q_low.T, out=S)
            else:
                if count > FEW:
                    np.matmul(G, Q_low.T, out=S)
                else:
                    for query in range(count):
                        np.vecdot(G, Q_low[query], out=S[:, query])
                S *= r
            near = S >= (self._first_cut(S, k) if cut is None else cut)                 # (2)
            item, query = np.divmod(np.flatnonzero(near), count)
            if len(item) == 0:
                continue
            found.append((query, item + start, self._cosines_of(Q_hat, query, item, start, len(G))))    # (3)
            waiting += len(item)
            if waiting >= k * count:            # a merge now and then: each has as much that is new as it has of old
                found, waiting = [_merge(found, k)], 0                                  # (4)
                cut = found[0][2].reshape(count, k)[:, -1].astype(self.G.dtype) - self.error
        (_, ids, scores), = found if waiting == 0 else [_merge(found, k)]
        return ids.reshape(count, k), scores.reshape(count, k)

    def _first_cut(self, S: np.ndarray, k: int) -> np.ndarray | float:
        """M - 2ε for each query, from scores S (items, queries) of a block."""
        if len(S) < k:
            return -np.inf
        groups = max(256, 16 * k)
        if len(S) >= 2 * groups:
            whole = len(S) // groups * groups
            S = S[:whole].reshape(-1, groups, S.shape[1]).max(axis=0)
        return np.partition(S, -k, axis=0)[-k] - 2 * self.error

    def _cosines_of(self, Q_hat: np.ndarray, query: np.ndarray, item: np.ndarray, start: int, block: int) -> np.ndarray:
        """(P,) c of pairs of a query and an item of the block that starts at item `start`."""
        if len(query) > block * (4 + len(Q_hat) / 16):      # where many are equal: normalising all items, and one product
            return _cosines(Q_hat, self.G[start:start + block])[query, item]
        found = np.empty(len(query), np.float32)
        for first in range(0, len(query), PAIRS):
            here = slice(first, first + PAIRS)
            g = self.G[item[here] + start].astype(np.float64)
            found[here] = _rounded(np.vecdot(g, Q_hat[query[here]]) / np.sqrt(np.vecdot(g, g) + EPS))
        return found


def cosines(Q: Array, G: Array) -> np.ndarray:
    """(Q, N) float32: the cosine of every query with every item, the plain form.

    Summed in float64 and rounded to multiples of 2⁻³⁰, so that neither the block nor the place in a batch moves a bit, and
    equal vectors get equal cosines.
    """
    return _cosines(l2_normalise(to_host(Q).astype(np.float64))[0], to_host(G))


def _cosines(Q_hat: np.ndarray, G: np.ndarray) -> np.ndarray:
    S = np.empty((len(Q_hat), len(G)), np.float32)
    for start in range(0, len(G), PLAIN_ITEMS):
        G_hat = l2_normalise(G[start:start + PLAIN_ITEMS].astype(np.float64))[0]
        S[:, start:start + PLAIN_ITEMS] = _rounded(Q_hat @ G_hat.T)
    return S


def _rounded(c: np.ndarray) -> np.ndarray:
    """The order of a sum leaves errors of 1e-16, and float32 would keep them where the cosine is near 0."""
    c *= 2.0**30
    np.rint(c, out=c)
    c *= 2.0**-30
    return c


def _merge(found: list[Found], k: int) -> Found:
    """The k best of each query, or all where there are fewer: by query, then by cosine, then by id."""
    query, item, c = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((item, -c, query))
    counts = np.bincount(query)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    best = order[place < k]
    return query[best], item[best], c[best]
