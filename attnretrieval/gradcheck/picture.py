"""Where a gradient is wrong: expected, actual and the difference of every wrong input, side by side.

Both `report.plot()` and `figures.gradient_report(report)` are this. The scale goes from dark (negative) over grey (0) to light
(positive), so that signs can be told in grey print and by the colour-blind; expected and actual have one scale, and elements
that differ are crossed. What is no finite number has no colour.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnretrieval.backend import Array
from attnretrieval.gradcheck.report import Report, Row

COLOURS = "cividis"
WIDEST = 60                 # rows and columns that are drawn
CROSSED = 30                # rows and columns up to which an element is large enough for a cross


def gradient_report(report: Report) -> Figure:
    """A row of pictures for every wrong input, or a sentence where there is nothing to draw.

    Arrays are drawn as matrices: the last axis to the right, all others downwards.
    """
    wrong = [row for row in report.rows if not row.passed]
    shown = [row for row in wrong if row.expected is not None and row.actual is not None and row.expected.size]
    if not shown:
        figure = Figure(figsize=(7, 1.2), layout="constrained")
        text = "every gradient is right" if report.passed else "nothing to draw: " + (
            "; ".join(report.problems) or f"{', '.join(row.name for row in wrong)} could not be compared element by element")
        figure.text(0.5, 0.5, f"{report.name}\n{text}", ha="center", va="center", wrap=True)
        return figure
    figure = Figure(figsize=(9, 0.6 + 2.6 * len(shown)), layout="constrained")
    figure.suptitle(report.name)
    axes = figure.subplots(len(shown), 3, squeeze=False)
    for row, three in zip(shown, axes, strict=True):
        _draw_row(figure, row, three, report.tolerance)
    return figure


def _draw_row(figure: Figure, row: Row, axes: Array, tolerance: float) -> None:
    expected, actual = _flat(row.expected), _flat(row.actual)
    top = max(_largest(expected), _largest(actual), 1e-300)
    comparable = actual.shape == expected.shape
    if comparable:
        error = actual - expected
        wrong = ~(np.abs(error) <= tolerance * top)             # NaN too
    first = np.argwhere(wrong)[0] if comparable and wrong.any() else (0, 0)
    _matrix(axes[0], "expected", expected, top, first)
    image = _matrix(axes[1], f"actual: {row.diagnosis}" if row.diagnosis else "actual", actual, top, first)
    _bar(figure, image, axes[:2])
    axes[0].set_ylabel(f"d_{row.name}  {' × '.join(map(str, row.shape)) or 'scalar'}\n{axes[0].get_ylabel()}", fontsize=8)
    if not comparable:
        axes[2].set_axis_off()
        axes[2].text(0.5, 0.5, f"the shape is wrong:\n{row.actual.shape}\ninstead of {row.expected.shape}", ha="center",
                     va="center", fontsize=9)
        return
    image = _matrix(axes[2], f"actual - expected: {wrong.sum()} of {wrong.size} differ", error,
                    _largest(error[wrong]) or top, first)       # the scale of errors, not of rounding
    _bar(figure, image, axes[2:])
    if max(error.shape) <= CROSSED:
        for colour, width in (("black", 2.2), ("white", 1.0)):          # seen on dark and on light
            axes[2].plot(*np.argwhere(wrong).T[::-1], "x", color=colour, markersize=5, markeredgewidth=width)


def _matrix(ax: Axes, title: str, values: Array, limit: float, first: Array | tuple[int, int]):
    """Of a large matrix, the part around the first wrong element."""
    (top, bottom, rows), (left, right, columns) = (_part(name, length, at) for name, length, at in
                                                   zip(("other axes", "last axis"), values.shape, first, strict=True))
    image = ax.imshow(values[top:bottom, left:right], cmap=COLOURS, vmin=-limit, vmax=limit, aspect="auto",
                      interpolation="nearest", extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5))
    ax.set_title(title, fontsize=9)
    ax.set_xlabel(columns, fontsize=8)
    if ax.get_subplotspec().is_first_col():
        ax.set_ylabel(rows, fontsize=8)
    ax.tick_params(labelsize=7)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return image


def _part(name: str, length: int, at: int) -> tuple[int, int, str]:
    """What is drawn of an axis, [start, stop), and its label, which tells it."""
    if length <= WIDEST:
        return 0, length, name
    start = int(np.clip(at - WIDEST // 2, 0, length - WIDEST))
    return start, start + WIDEST, f"{name}: {start} to {start + WIDEST - 1} of {length}"


def _largest(values: Array) -> float:
    """The largest size of the finite values, 0 where there are none."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0))


def _bar(figure: Figure, image, axes: Array) -> None:
    figure.colorbar(image, ax=list(axes)).ax.tick_params(labelsize=7)


def _flat(x: Array) -> Array:
    """As a matrix: the last axis to the right, all others downwards."""
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
