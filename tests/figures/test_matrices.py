"""Maps and scores as matrices: values in their cells, one scale, labels to read, padding and right answers marked."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from attnretrieval.figures import attention_matrix, heads, similarity_matrix
from attnretrieval.figures.fonts import families
from attnretrieval.figures.similarity_matrix import COLOURS
from attnretrieval.figures.style import WEIGHTS_ON_WHITE
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels, texts

WORDS = "a black cat is chasing a red ball".split()
CHINESE_WORDS = list("一只黑色的猫在追红色的球")
LUMA = np.array([0.299, 0.587, 0.114])


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    E = np.exp(2 * np.random.default_rng(seed).normal(size=shape))
    return E / E.sum(axis=-1, keepdims=True)


def scores(n: int, m: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, m))


def matrices(figure) -> list:
    """The axes with a matrix, in order."""
    return [ax for ax in figure.axes if ax.images]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def named(figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def check_colours(figure, values, colours, low, high) -> None:
    """Every cell has the colour of its value, seen off its centre, where a number or a frame may lie."""
    drawn = pixels(figure)
    for ax, matrix in zip(matrices(figure), values, strict=True):
        for i, j in np.ndindex(matrix.shape):
            expected = 255 * np.array(colours((matrix[i, j] - low) / (high - low))[:3])
            np.testing.assert_allclose(colour_at(drawn, ax, j - 0.42, i - 0.42), expected, atol=3)


# ---- attention_matrix ------------------------------------------------------------------------------------------------


def test_a_map_with_its_numbers_and_labels():
    A = weights(8, 6)
    figure = attention_matrix(A, WORDS, [f"r{j}" for j in range(6)], title="Run 7")
    (ax,) = matrices(figure)
    np.testing.assert_array_equal(ax.images[0].get_array(), A)
    assert (labels(ax.yaxis), labels(ax.xaxis)) == (WORDS, [f"r{j}" for j in range(6)])
    numbers = {text.get_position(): text.get_text() for text in ax.texts if re.fullmatch(r"\d\.\d\d", text.get_text())}
    assert numbers == {(j, i): f"{A[i, j]:.2f}" for i in range(8) for j in range(6)}
    check_colours(figure, [A], WEIGHTS_ON_WHITE, 0, A.max())
    check_layout(figure)


def test_numbers_can_be_read_on_their_colour():
    A = np.linspace(0, 1, 16).reshape(4, 4)
    figure = attention_matrix(A)
    for text in matrices(figure)[0].texts:
        if text.get_text():
            j, i = text.get_position()
            ground = WEIGHTS_ON_WHITE(A[i, j])[:3] @ LUMA
            assert abs((text.get_color() == "white") - ground) > 0.4, A[i, j]


def test_the_scale_only_darkens():
    grey = WEIGHTS_ON_WHITE(np.linspace(0, 1, 256))[:, :3] @ LUMA
    assert grey[0] > 0.999 and (np.diff(grey) <= 0.002).all() and grey[-1] < 0.3
    cividis = COLOURS(np.linspace(0, 1, 256))[:, :3] @ LUMA
    assert (np.diff(cividis) > -0.002).all() and np.ptp(cividis) > 0.6


@pytest.mark.parametrize(("row_mask", "column_mask"), [
    (None, [True, True, False, True, False, False]), ([True, False, True], None), ([True, True, True], [True] * 6),
    (None, None),
])
def test_padding_is_hatched_and_named(row_mask, column_mask):
    masks = [None if mask is None else np.array(mask) for mask in (row_mask, column_mask)]
    figure = attention_matrix(weights(3, 6), None, None, *masks)
    (ax,) = matrices(figure)
    hatched = [patch.get_bbox().extents.tolist() for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    rows = [] if row_mask is None else [[-0.5, i - 0.5, 5.5, i + 0.5] for i in range(3) if not row_mask[i]]
    columns = [] if column_mask is None else [[j - 0.5, -0.5, j + 0.5, 2.5] for j in range(6) if not column_mask[j]]
    assert hatched == rows + columns
    assert any("hatched" in text for text in named(figure)) == bool(hatched)
    check_layout(figure)


def test_limit_and_a_map_of_zeros():
    assert matrices(attention_matrix(weights(2, 3), limit=0.5))[0].images[0].norm.vmax == 0.5
    assert matrices(attention_matrix(np.zeros((2, 3))))[0].images[0].norm.vmax == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 49), (24, 49), (49, 49), (196, 196), (30, 2)])
def test_any_size_fits_a_notebook(shape):
    figure = attention_matrix(weights(*shape), [f"word {i}" for i in range(shape[0])], title="some heading")
    width, height = figure.get_size_inches()
    assert width < 9.5 and height < 9.5
    check_layout(figure)


def test_chinese_words(chinese_font):
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # "Glyph missing" among others
        figure = attention_matrix(weights(12, 12), CHINESE_WORDS, CHINESE_WORDS, title="一只猫")
        many = heads(weights(4, 12, 12), CHINESE_WORDS, CHINESE_WORDS)
        batch = similarity_matrix(scores(3, 3), texts=["一只猫", "狗", "红色的球"])
        for drawn in (figure, many, batch):
            check_layout(drawn)
    assert labels(matrices(many)[0].xaxis) == CHINESE_WORDS
    assert all(label.get_fontfamily() == families("猫") for label in matrices(figure)[0].yaxis.get_ticklabels())


def test_labels_are_shown_letter_by_letter_and_cut_where_they_are_too_long():
    columns = ["a_b", "Donaudampfschifffahrtsgesellschaft"]
    figure = attention_matrix(weights(2, 2), ["$5^2$", "w" * 90], columns, title="$x$ for $y$")
    shown = named(figure)
    assert "$5^2$" in shown and "$x$ for $y$" in shown and sum(text.endswith("…") for text in shown) == 2
    assert not any(text.get_parse_math() for text in texts(figure) if "$" in text.get_text())
    check_layout(figure)


# ---- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "n", "m"), [(1, 3, 4), (2, 8, 8), (4, 8, 8), (8, 24, 49), (5, 12, 16), (12, 4, 4)])
def test_all_heads_side_by_side_on_one_scale(count, n, m):
    A = weights(count, n, m)
    figure = heads(A, [f"w{i}" for i in range(n)], title="Run 7")
    drawn = matrices(figure)
    np.testing.assert_array_equal([ax.images[0].get_array() for ax in drawn], A)
    bar = figure.axes[-1]._colorbar
    assert {id(ax.images[0].norm) for ax in drawn} == {id(bar.norm)} and (bar.norm.vmin, bar.norm.vmax) == (0, A.max())
    sharp = A.max(axis=2).mean(axis=1)
    assert [text for text in named(figure) if text.startswith("head ")] == [
        f"head {i}: mean largest {sharp[i]:.2f}" for i in range(count)]
    sizes = {tuple(ax.get_window_extent().size.round(3)) for ax in drawn}
    assert len(sizes) == 1 and figure.get_size_inches()[0] < 9.5
    check_layout(figure)


def test_padded_rows_of_heads_do_not_count():
    A = weights(2, 3, 3)
    A[:, 2] = [1, 0, 0]
    mask = np.array([True, True, False])
    figure = heads(A, row_mask=mask, column_mask=mask)
    sharp = A[:, :2].max(axis=2).mean(axis=1)
    assert f"head 1: mean largest {sharp[1]:.2f}" in named(figure) and any("hatched" in text for text in named(figure))
    assert all(len([p for p in ax.patches if p.get_hatch()]) == 2 for ax in matrices(figure))


# ---- similarity_matrix -----------------------------------------------------------------------------------------------


def frames(ax) -> list[tuple[float, float]]:
    """The centres of the frames."""
    found = [c for c in ax.collections if isinstance(c, PatchCollection)]
    assert len({len(c.get_paths()) for c in found}) == 1
    return [tuple(path.get_extents().extents.reshape(2, 2).mean(axis=0).round(6).tolist()) for path in found[0].get_paths()]


@pytest.mark.parametrize("n", [5, 40])
def test_the_right_answers_are_framed_and_counted(n):
    S = scores(n, n)
    figure = similarity_matrix(S)
    (ax,) = matrices(figure)
    assert frames(ax) == [(i, i) for i in range(n)]
    right = (S.argmax(axis=1) == np.arange(n)).sum()
    assert f"right first: {right} of {n}" in named(figure)
    if n == 5:
        check_colours(figure, [S], COLOURS, S.min(), S.max())
    check_layout(figure)


def test_several_texts_of_an_image():
    S, image_of = scores(6, 3), np.array([2, 0, 0, 1, 1, 2])
    figure = similarity_matrix(S, image_of, texts=[f"text {i}" for i in range(6)], images=["x", "y", "z"])
    assert frames(matrices(figure)[0]) == [(float(j), float(i)) for i, j in enumerate(image_of)]
    assert f"right first: {(S.argmax(axis=1) == image_of).sum()} of 6" in named(figure)
    assert labels(matrices(figure)[0].xaxis) == ["x", "y", "z"]


@pytest.mark.parametrize("limits", [None, (-1.0, 1.0)])
def test_snapshots_have_one_scale(limits):
    S = {f"step {i}": (i + 1) * scores(8, 8, seed=i) / 3 for i in range(3)}
    figure = similarity_matrix(S, limits=limits, title="A batch")
    every = np.stack(list(S.values()))
    drawn = matrices(figure)
    np.testing.assert_array_equal([ax.images[0].get_array() for ax in drawn], every)
    norms = {id(ax.images[0].norm) for ax in drawn} | {id(figure.axes[-1]._colorbar.norm)}
    norm = drawn[0].images[0].norm
    assert len(norms) == 1 and (norm.vmin, norm.vmax) == (limits or (every.min(), every.max()))
    assert [text.split(":")[0] for text in named(figure) if text.startswith("step")] == list(S)
    check_layout(figure)


def test_from_the_gpu(cupy_standin):
    A, S = weights(2, 3, 4), scores(3, 3)
    for draw, x in ((heads, A), (attention_matrix, A[0]), (similarity_matrix, S)):
        figure = draw(cupy_standin.asarray(x))
        np.testing.assert_array_equal(pixels(figure), pixels(draw(x)))


@pytest.mark.parametrize(("draw", "message"), [
    (lambda: attention_matrix(np.ones((2, 2, 2))), "A has shape (2, 2, 2), expected 2 axes"),
    (lambda: attention_matrix(np.ones((2, 2)), ["a"]), "1 rows for 2; give one label each, padding too"),
    (lambda: attention_matrix(np.ones((2, 2)), limit=0), "limit=0 ends the scale"),
    (lambda: attention_matrix(np.ones((2, 2)), column_mask=np.ones(3, bool)), "column_mask"),
    (lambda: attention_matrix(np.full((2, 2), np.nan)), "A"),
    (lambda: heads(np.ones((2, 2))), "A has shape (2, 2), expected 3 axes"),
    (lambda: heads(np.ones((2, 2, 2)), row_mask=np.zeros(2, bool)), "every row is padding"),
    (lambda: similarity_matrix(np.ones((2, 3))), "2 texts and 3 images are no pairs in order: give image_of"),
    (lambda: similarity_matrix(np.ones((2, 3)), [0, 3]), "image_of goes from 0 to 3, but images have the numbers 0 to 2"),
    (lambda: similarity_matrix(np.ones((2, 3)), [0.0, 1.0]), "image_of has shape (2,) and dtype float64"),
    (lambda: similarity_matrix({"a": np.ones((2, 2)), "b": np.ones((3, 3))}), "b has shape (3, 3), expected (2, 2)"),
    (lambda: similarity_matrix({}), "there is no matrix to draw"),
    (lambda: similarity_matrix(np.ones((2, 2)), limits=(1, 0)), "limits=(1, 0) of the scale are not in order"),
])
def test_wrong_inputs_are_explained(draw, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        draw()
