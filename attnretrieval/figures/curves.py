"""How a run went: losses, learning rate, recalls and rsum, an epoch a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from attnretrieval.figures.style import BLUE, GREEN, GREY, ORANGE, RED
from attnretrieval.shapes import ShapeError

LOSSES = {"loss_alone": ("alone", BLUE, "-"), "loss_paired": ("paired", ORANGE, "--")}
RECALLS = {"r10": ("R@10", GREEN, "^"), "r5": ("R@5", ORANGE, "s"), "r1": ("R@1", BLUE, "o")}
WAYS = {"i2t": ("image → text", "-"), "t2i": ("text → image", "--")}


def training_curves(rows: Sequence[dict[str, Any]]) -> Figure:
    """The log of a run, as `train` returns it and log.json holds it.

    A dotted line stands where a stage begins. Recalls and rsum are those of the validation set, in the mode of the stage.
    """
    if not rows:
        raise ShapeError("the log has no epoch: there is nothing to draw")
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    (loss, rate), (recall, total) = figure.subplots(2, 2, sharex=True)
    for key, (label, color, dash) in LOSSES.items():
        values = [row.get(key) for row in rows]
        if any(value is not None for value in values):
            loss.plot(epochs, [float("nan") if v is None else v for v in values], dash, color=color, marker=".", label=label)
    rate.plot(epochs, [row["learning_rate"] for row in rows], color=GREY, marker=".")
    for key, (label, color, marker) in RECALLS.items():
        for way, (name, dash) in WAYS.items():
            recall.plot(epochs, [row[f"{way}_{key}"] for row in rows], dash, color=color, marker=marker, markersize=4,
                        label=f"{label} {name}")
    total.plot(epochs, [row["rsum"] for row in rows], color=BLUE, marker=".")
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
    for ax in (loss, total):
        ax.legend(fontsize=8)
    recall.legend(fontsize=7, ncols=3, loc="upper center")
    return figure
