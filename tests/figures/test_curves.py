"""Curves of a run: every number of the log is drawn, each line can be told from the others, stages and the best are marked."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from attnretrieval.figures.curves import training_curves
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, pixels

RECALLS = [f"{way}_{name}" for way in ("i2t", "t2i") for name in ("r1", "r5", "r10")]


def log(stages=(4, 3), paired=(False, True), level: float = 60) -> list[dict]:
    """Rows as `train` returns them."""
    rng, rows = np.random.default_rng(0), []
    for stage, (epochs, has_paired) in enumerate(zip(stages, paired, strict=True), start=1):
        for _ in range(epochs):
            recalls = {key: float(level + 40 * (1 - level / 100) * rng.random()) for key in RECALLS}
            rows.append({
                "epoch": len(rows) + 1, "stage": stage, "step": 9 * len(rows) + 9, "learning_rate": 1e-3 / (len(rows) + 1),
                "loss": 2.0, "loss_alone": float(rng.random()), "loss_paired": float(rng.random()) if has_paired else None,
                "seconds": 1.0, "mode": "rerank" if has_paired else "index", **recalls, "rsum": sum(recalls.values())})
    return rows


def curves(ax) -> dict[str, tuple[list, list]]:
    """The lines of an axes that have a name, by name."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines
            if not line.get_label().startswith("_")}


def test_every_number_of_the_log_is_drawn():
    rows = log()
    loss, rate, recall, total = training_curves(rows).axes
    epochs = [1, 2, 3, 4, 5, 6, 7]
    assert curves(loss)["alone"] == (epochs, [row["loss_alone"] for row in rows])
    x, y = curves(loss)["paired"]
    assert x == epochs and np.isnan(y[:4]).all() and y[4:] == [row["loss_paired"] for row in rows[4:]]
    assert list(rate.lines[0].get_ydata()) == [row["learning_rate"] for row in rows]
    names = {f"{way}_r{k}": f"R@{k} {label}"
             for way, label in (("i2t", "image → text"), ("t2i", "text → image")) for k in (1, 5, 10)}
    assert set(curves(recall)) == set(names.values())
    for key, name in names.items():
        assert curves(recall)[name] == (epochs, [row[key] for row in rows])
    assert list(total.lines[0].get_ydata()) == [row["rsum"] for row in rows]
    assert total.get_title() == "validation rsum of 600 (mode index, then rerank)"


def test_the_best_epoch_is_marked():
    rows = log()
    rows[2]["rsum"] = 512.345
    total = training_curves(rows).axes[3]
    assert curves(total) == {"best: 512.3 in epoch 3": ([3], [512.345])}
    assert [text.get_text() for text in total.get_legend().get_texts()] == ["best: 512.3 in epoch 3"]


@pytest.mark.parametrize("stages", [(3,), (1, 1), (2, 4, 3)])
def test_a_dotted_line_where_a_stage_begins(stages):
    figure = training_curves(log(stages, (False,) * len(stages)))
    begins = [sum(stages[:i]) + 0.5 for i in range(1, len(stages))]
    for ax in figure.axes:
        assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == begins
    named = [text.get_text() for ax in figure.axes if ax.get_legend() for text in ax.get_legend().get_texts()]
    assert named.count("a stage begins") == bool(begins)


def test_without_a_paired_loss():
    loss = training_curves(log((3,), (False,))).axes[0]
    assert list(curves(loss)) == ["alone"]


def test_lines_differ_in_more_than_colour():
    for ax in training_curves(log()).axes:
        for kinds in ([(line.get_linestyle(), line.get_marker()) for line in ax.lines if line.get_linestyle() != ":"],
                      [(to_hex(line.get_color()), line.get_linestyle()) for line in ax.lines if line.get_linestyle() != ":"]):
            assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("rows", [log((1,), (False,)), log((40, 9)), log(level=100)], ids=["one epoch", "many", "all found"])
def test_layout(rows):
    figure = training_curves(rows)
    check_layout(figure)
    for ax in figure.axes:
        low, high = ax.get_xlim()
        assert low < 1 and high > len(rows) and ax.get_ylim()[0] < ax.get_ylim()[1]
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert ticks and all(tick == int(tick) for tick in ticks)
    assert figure.axes[1].get_ylim()[0] == 0
    recall = figure.axes[2]
    pixels(figure)
    assert recall.get_legend().get_window_extent().y0 > recall.transData.transform((1, 103))[1]     # above the lines


def test_an_empty_log():
    with pytest.raises(ShapeError, match="the log has no epoch: there is nothing to draw"):
        training_curves([])


def test_one_epoch_tells_the_directions_apart_without_a_line():
    recall = training_curves(log((1,), (False,))).axes[2]
    assert len({(line.get_marker(), line.get_fillstyle()) for line in recall.lines}) == 6


def test_many_epochs_have_few_markers():
    for ax in training_curves(log((70, 30))).axes:
        for line in ax.lines:
            every = line.get_markevery()
            assert len(line.get_xdata()[::every]) <= 20


@pytest.mark.parametrize("rows", [log((1,), (False,)), log(), log((40, 9))], ids=["one epoch", "few", "many"])
def test_legends_lie_on_no_line(rows):
    figure = training_curves(rows)
    pixels(figure)
    for ax in (figure.axes[0], figure.axes[2], figure.axes[3]):
        legend = ax.get_legend().get_window_extent()
        points = np.concatenate([ax.transData.transform(np.column_stack(line.get_data())) for line in ax.lines
                                 if line.get_linestyle() != ":"])
        assert not legend.count_contains(points[np.isfinite(points).all(axis=1)])


def test_a_log_without_validation_is_told():
    rows = [{key: value for key, value in row.items() if key not in ("rsum", "i2t_r1")} for row in log()]
    with pytest.raises(ShapeError, match="row 0 of the log has no rsum, i2t_r1; give the rows that train returns"):
        training_curves(rows)
