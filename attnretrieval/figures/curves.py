"""How a run went: losses, learning rate, recalls and rsum, an epoch a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnretrieval.figures.style import BLUE, GREEN, GREY, ORANGE, RED
from attnretrieval.shapes import ShapeError

LOSSES = {"loss_alone": ("alone", BLUE, "-"), "loss_paired": ("paired", ORANGE, "--")}
MARKERS = 20                    # on a line at most: more hide it
RECALLS = {"r10": ("R@10", GREEN, "^"), "r5": ("R@5", ORANGE, "s"), "r1": ("R@1", BLUE, "o")}
WAYS = {"i2t": ("image → text", "-", "full"), "t2i": ("text → image", "--", "none")}     # name, dash, filling of the marker


def training_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """The log of a run, as `train` returns it and log.json holds it.

    `rows` are dicts, one an epoch. A dotted line stands where a stage begins. Recalls (per cent) and rsum (their sum, 600 at
    most) are those of the validation set, in the mode of the stage.
    """
    if not rows:
        raise ShapeError("the log has no epoch: there is nothing to draw")
    _check(rows)
    epochs = [row["epoch"] for row in rows]
    every = -(-len(rows) // MARKERS)
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    (loss, rate), (recall, total) = figure.subplots(2, 2, sharex=True)
    for key, (label, color, dash) in LOSSES.items():
        values = [row.get(key) for row in rows]
        if any(value is not None for value in values):
            loss.plot(epochs, [float("nan") if v is None else v for v in values], dash, color=color, marker=".",
                      markevery=every, label=label)
    rate.plot(epochs, [row["learning_rate"] for row in rows], color=GREY, marker=".", markevery=every)
    for key, (label, color, marker) in RECALLS.items():
        for way, (name, dash, filling) in WAYS.items():
            recall.plot(epochs, [row[f"{way}_{key}"] for row in rows], dash, color=color, marker=marker, markersize=4.5,
                        fillstyle=filling, markevery=every, label=f"{label} {name}")
    total.plot(epochs, [row["rsum"] for row in rows], color=BLUE, marker=".", markevery=every)
    best = max(rows, key=lambda row: row["rsum"])
    total.plot(best["epoch"], best["rsum"], "o", color=RED, fillstyle="none", markersize=9,
               label=f"best: {best['rsum']:.1f} in epoch {best['epoch']}")
    borders = [row["epoch"] - 0.5 for before, row in zip(rows, rows[1:], strict=False) if row["stage"] != before["stage"]]
    modes = ", then ".join(dict.fromkeys(row["mode"] for row in rows))
    for ax, title in ((loss, "training loss"), (rate, "learning rate, at the end of the epoch"),
                      (recall, "validation recall, %"), (total, f"validation rsum of 600 (mode {modes})")):
        ax.set_title(title, fontsize=10)
        ax.grid(alpha=0.3)
        for border in borders:
            ax.axvline(border, color="black", linestyle=":", linewidth=1)
    if borders:
        loss.lines[-1].set_label("a stage begins")
    loss.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)            # of all four
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    rate.set_ylim(0, 1.05 * max(row["learning_rate"] for row in rows) or 1)
    recall.set_ylim(-3, 133)                                    # room for the legend above 100 %
    recall.set_yticks(range(0, 101, 20))
    for ax in (recall, total):
        ax.set_xlabel("epoch")
    for ax, corner, columns in ((loss, "upper right", 3), (total, "lower right", 1)):
        low, high = ax.get_ylim()
        room = 0.2 * (high - low)                               # for the legend
        ax.set_ylim((low, high + room) if ax is loss else (low - room, high))
        ax.legend(fontsize=8, loc=corner, ncols=columns)
    recall.legend(fontsize=7, ncols=3, loc="upper center")
    return figure


def _check(rows: Sequence[dict[str, Any]]) -> None:
    needed = ["epoch", "stage", "mode", "learning_rate", "rsum", *(f"{way}_{key}" for way in WAYS for key in RECALLS)]
    for number, row in enumerate(rows):
        missing = [key for key in needed if row.get(key) is None]
        if missing:
            raise ShapeError(f"row {number} of the log has no {', '.join(missing)}; give the rows that train returns, which "
                             "hold the learning rate and the validation of every epoch")
