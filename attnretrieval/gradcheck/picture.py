"""Where a gradient is wrong: expected, actual and the difference of every wrong input, side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnretrieval.backend import Array
from attnretrieval.gradcheck.report import Report, Row

COLOURS = "RdBu_r"          # red is positive, blue negative, white is 0
WIDEST = 60                 # rows and columns that are drawn


def draw(report: Report) -> Figure:
    wrong = [row for row in report.rows if not row.passed]
    shown = [row for row in wrong if row.expected is not None and row.actual is not None and row.expected.size]
    if not shown:
        figure = Figure(figsize=(7, 1.2), layout="constrained")
        text = "every gradient is right" if report.passed else "nothing to draw: " + (
            "; ".join(report.problems) or f"{', '.join(row.name for row in wrong)} could not be compared element by element")
        figure.text(0.5, 0.5, f"{report.name}\n{text}", ha="center", va="center", wrap=True)
        return figure
    figure = Figure(figsize=(10, 0.6 + 2.7 * len(shown)), layout="constrained")
    figure.suptitle(report.name)
    axes = figure.subplots(len(shown), 3, squeeze=False)
    for row, three in zip(shown, axes, strict=True):
        _draw_row(figure, row, three)
    return figure


def _draw_row(figure: Figure, row: Row, axes: Array) -> None:
    expected = _flat(row.expected)
    comparable = row.actual.shape == row.expected.shape
    actual = _flat(row.actual)
    top = float(max(np.abs(expected).max(), np.nanmax(np.abs(actual), initial=0), 1e-300))
    pictures = [("expected", expected, top), (f"actual: {row.diagnosis}" if row.diagnosis else "actual", actual, top)]
    if comparable:
        error = actual - expected
        pictures.append(("actual - expected", error, float(max(np.nanmax(np.abs(error), initial=0), 1e-300))))
    for ax, (title, values, limit) in zip(axes, pictures, strict=False):
        image = ax.imshow(values[:WIDEST, :WIDEST], cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto",
                          interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.set_xlabel("last axis", fontsize=8)
        ax.tick_params(labelsize=7)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        figure.colorbar(image, ax=ax).ax.tick_params(labelsize=7)
    axes[0].set_ylabel(f"d_{row.name}  {' × '.join(map(str, row.shape)) or 'scalar'}\nother axes", fontsize=8)
    if not comparable:
        axes[2].set_axis_off()
        axes[2].text(0.5, 0.5, f"the shape is wrong:\n{row.actual.shape}\ninstead of {row.expected.shape}", ha="center",
                     va="center", fontsize=9)


def _flat(x: Array) -> Array:
    """As a matrix: the last axis to the right, all others downwards."""
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
