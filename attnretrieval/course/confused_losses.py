"""The two losses with one thing taken for another: see confusions.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnretrieval.backend import Array
from attnretrieval.course.confusions import Confusion


def info_nce(S: Array, log_temperature: Array, positives: Array, temperature_range=(0.01, 1.0)) -> Iterator[Confusion]:
    low, high = temperature_range
    tau = float(np.clip(np.exp(log_temperature), low, high))
    one, two = _direction(S / tau, positives), _direction(S.T / tau, positives.T)
    both = (one + two) / 2
    yield "image to text missing", "half the loss of the captions, and nothing of the images", np.asarray(one / 2)
    yield "text to image missing", "half the loss of the images, and nothing of the captions", np.asarray(two / 2)
    yield "along another axis", "captions that choose among images in both directions", np.asarray(one)
    yield "along another axis", "images that choose among captions in both directions", np.asarray(two)
    yield "sum for mean", "the sum of both directions", np.asarray(2 * both)
    yield "sign", "minus the loss", np.asarray(-both)
    for code, text, scale in (
        ("temperature range forgotten", "a temperature that is not held in its range", 1 / float(np.exp(log_temperature))),
        ("log_temperature left out", "a temperature of 1", 1.0),
        ("log_temperature for exp(log_temperature)", "log_temperature itself as the temperature",
         1 / float(np.clip(log_temperature, low, high))),
        ("temperature for 1 / temperature", "scores multiplied by the temperature", tau),
    ):
        yield code, text, np.asarray((_direction(S * scale, positives) + _direction(S.T * scale, positives.T)) / 2)
    n, m = S.shape
    for code, text, options in (
        ("scaled", "right answers that do not share the target: each counts 1", {"share": False}),
        ("scaled", "rows without a right answer counted in the mean", {"all_rows": True}),
        ("sum for mean", "a sum over the rows", {"total": True}),
        ("mask of the right answers let in", "right answers left out of the denominator", {"others": True}),
    ):
        yield code, text, np.asarray((_direction(S / tau, positives, **options)
                                      + _direction(S.T / tau, positives.T, **options)) / 2)
    for code, text, right in (
        ("mask in the wrong place", "only the first right answer of a row taken for right", _first(positives)),
        ("mask in the wrong place", "the diagonal taken for the right answers", np.eye(n, m, dtype=bool)),
    ):
        yield code, text, np.asarray((_direction(S / tau, right) + _direction(S.T / tau, right.T)) / 2)
    columns = _first(positives.T) if positives.any() else positives.T
    yield "mask in the wrong place", "only the first right answer of a row and of a column taken for right", np.asarray(
        (_direction(S / tau, _first(positives)) + _direction(S.T / tau, columns)) / 2)
    yield "along another axis", "scores normalised over the wrong axis in both directions", np.asarray(
        (_direction(S / tau, positives, axis=0) + _direction(S.T / tau, positives.T, axis=0)) / 2)


def _direction(Z: Array, right: Array, share: bool = True, all_rows: bool = False, total: bool = False, others: bool = False,
               axis: int = 1) -> float:
    """-Σ target · log p of one direction, and what people change in it."""
    counted = np.exp(Z - Z.max()) * (~right if others else 1)
    log_p = Z - Z.max() - np.log(counted.sum(axis=axis, keepdims=True))
    count = right.sum(axis=1)
    rows = -(log_p * right).sum(axis=1) / (np.maximum(count, 1) if share else 1)
    number = 1 if total else len(Z) if all_rows else max(int((count > 0).sum()), 1)
    return float(rows.sum() / number)


def _first(right: Array) -> Array:
    return right & (right.cumsum(axis=1) == 1)


def triplet_loss(S: Array, positives: Array, margin: float = 0.2, violations: str = "sum") -> Iterator[Confusion]:
    pairs = max(int(positives.sum()), 1)

    def loss(S=S, right=positives, by=pairs, **options):
        options = {"margin": margin, "violations": violations, **options}
        return np.asarray((_hinges(S, right, **options) + _hinges(S.T, right.T, **options)) / by)

    one, two = (_hinges(x, right, margin, violations) / pairs for x, right in ((S, positives), (S.T, positives.T)))
    yield "image to text missing", "the loss of the captions alone", np.asarray(one)
    yield "text to image missing", "the loss of the images alone", np.asarray(two)
    yield "along another axis", "captions that choose among images in both directions", np.asarray(2 * one)
    yield "sum for mean", "a sum over the pairs", loss(by=1)
    yield "scaled", "a division by the number of captions", loss(by=len(S))
    yield "scaled", '"mean" divided by the number of all columns', loss(violations="mean of all")
    for other in ("sum", "hardest", "mean"):
        if other != violations:
            yield "violations forgotten", f'violations="{other}" instead of "{violations}"', loss(violations=other)
    yield "margin left out", "a margin of 0", loss(margin=0.0)
    yield "sign of the margin", "a margin that helps instead of asking for more", loss(margin=-margin)
    yield "hinge forgotten", "no hinge: negatives far below the margin count too", loss(hinge=lambda x: x)
    yield "squared hinges for hinges", "squared hinges", loss(hinge=lambda x: np.maximum(x, 0) ** 2)
    yield "mask of the positive let in", "the positive itself counted as a negative", loss(negatives="all")
    yield "mask of the positives let in", "other captions of the same image counted as negatives", (
        loss(negatives="but the pair"))
    yield "mask forgotten", '"hardest" lost where the positive scores best', loss(violations="hardest of the row")
    yield "positives missing", "only the first positive of a row", loss(first=True)
    yield "mask forgotten", "rows without a positive compared with their first column", loss(empty=True)
    yield "easiest for hardest", "the least violating negative for the hardest", loss(violations="easiest")
    yield "hardest shifted", "the column after the hardest negative", loss(violations="after the hardest")


def _hinges(S: Array, right: Array, margin: float, violations: str, hinge=lambda x: np.maximum(x, 0), negatives: str = "true",
            first: bool = False, empty: bool = False) -> float:
    """The violations of one direction, row by row, summed."""
    total = 0.0
    for row, positive in zip(S, right, strict=True):
        columns = [int(i) for i in np.flatnonzero(positive)]
        if empty and not columns:
            columns = [0]
        for i in columns[:1] if first else columns:
            here = np.arange(len(row)) == i
            wrong = {"true": ~positive, "all": here | True, "but the pair": ~here}[negatives]
            over = margin + row - row[i]
            costs = hinge(over)[wrong]
            if violations == "hardest of the row":
                costs = hinge(over[wrong]) if int(np.argmax(over)) != i else np.zeros(1)
            if not costs.size:
                continue
            after = int(np.argmax(np.where(wrong, over, -np.inf)) + 1) % len(row)
            total += {"sum": costs.sum(), "mean": costs.mean(), "mean of all": costs.sum() / len(row),
                      "hardest": costs.max(), "hardest of the row": costs.max(), "easiest": costs.min(),
                      "after the hardest": hinge(over)[after]}[violations]
    return float(total)
