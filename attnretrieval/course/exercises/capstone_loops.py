"""Lesson 6 as loops over Python numbers, with switches for the mistakes that are made: rows put back, duplicates, bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from attnretrieval.backend import Array


def take_rows_backward(d_T: Array, rows: Array, count: int) -> Array:
    d_G = np.zeros((count, d_T.shape[1]))
    for place, row in enumerate(rows):
        for j in range(d_T.shape[1]):
            d_G[row, j] += d_T[place, j]
    return d_G


def last_one_kept(d_T: Array, rows: Array, count: int) -> Array:
    d_G = np.zeros((count, d_T.shape[1]))
    for place, row in enumerate(rows):
        d_G[row] = d_T[place]
    return d_G


def averaged(d_T: Array, rows: Array, count: int) -> Array:
    times = np.maximum(np.bincount(rows, minlength=count), 1)
    return take_rows_backward(d_T, rows, count) / times[:, None]


def taken_again(d_T: Array, rows: Array, count: int) -> Array:
    return d_T[rows]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def near_duplicates(G: Array, in_test: Array, threshold: float, alike: Callable[[Array, Array], float] = cosine,
                    apart: Callable[[bool, bool], bool] = lambda i, j: not i and j) -> list[tuple[int, int]]:
    """Pairs i, j whose likeness reaches the threshold; `apart` says of i and j in test or not whether they are asked for."""
    return [(i, j) for i in range(len(G)) for j in range(len(G))
            if i != j and apart(bool(in_test[i]), bool(in_test[j])) and alike(G[i], G[j]) >= threshold]


def counted_within_parts(G: Array, in_test: Array, threshold: float) -> list[tuple[int, int]]:
    place = np.where(in_test, np.cumsum(in_test), np.cumsum(~in_test)) - 1
    return [(int(place[i]), int(place[j])) for i, j in near_duplicates(G, in_test, threshold)]


def recalls_of_draws(hits: Array, image_of: Array, draws: Array) -> list[float]:
    """R of each row of draws: all captions of the drawn images, those of an image drawn twice twice."""
    of = [[float(hits[c]) for c in range(len(hits)) if image_of[c] == i] for i in range(draws.shape[1])]
    drawn = [[hit for i in row for hit in of[i]] for row in draws]
    return [100 * sum(found) / len(found) for found in drawn]


def bootstrap_interval(hits: Array, image_of: Array, draws: Array, low: float = 2.5, high: float = 97.5) -> tuple[float, float]:
    return ends(recalls_of_draws(hits, image_of, draws), low, high)


def ends(values: list[float], low: float = 2.5, high: float = 97.5) -> tuple[float, float]:
    """Two percentiles; between two values, straight between them."""
    ordered = sorted(values)

    def at(percent: float) -> float:
        place = percent / 100 * (len(ordered) - 1)
        below = min(int(place), len(ordered) - 2)
        return ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
    return at(low), at(high)


def drawn_twice_counts_once(hits: Array, image_of: Array, draws: Array) -> tuple[float, float]:
    return ends([100 * float(hits[np.isin(image_of, row)].mean()) for row in draws])


def mean_of_images(hits: Array, image_of: Array, draws: Array) -> tuple[float, float]:
    of = np.array([hits[image_of == i].mean() for i in range(draws.shape[1])])
    return ends([100 * float(of[row].mean()) for row in draws])


def captions_drawn(hits: Array, image_of: Array, draws: Array) -> tuple[float, float]:
    return ends([100 * float(hits[row].mean()) for row in draws])


def normal_interval(hits: Array, image_of: Array, draws: Array) -> tuple[float, float]:
    values = np.array(recalls_of_draws(hits, image_of, draws))
    return float(values.mean() - 1.96 * values.std()), float(values.mean() + 1.96 * values.std())
