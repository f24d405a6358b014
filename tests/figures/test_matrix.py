"""Matrices of attention: every weight at its place, dark where it is large, on one scale, and padding that is no weight."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from attnretrieval.figures import attention_matrix, heads
from attnretrieval.figures.fonts import families
from attnretrieval.figures.style import WEIGHTS_ON_WHITE
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels, texts

WORDS = "a black cat is chasing a red ball".split()
CHINESE_WORDS = list("一只黑色的猫在追红色的球")
LUMA = np.array([0.299, 0.587, 0.114])


def weights(*shape: int) -> np.ndarray:
    E = np.exp(2 * np.random.default_rng(0).normal(size=shape))
    return E / E.sum(axis=-1, keepdims=True)


def matrices(figure) -> list:
    """The axes with a matrix, in order."""
    return [ax for ax in figure.axes if ax.images]


def labels(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def numbers(ax) -> dict[tuple[int, int], str]:
    """What stands in the cells."""
    found = [text for text in ax.texts if text.get_gid() == "number"]
    return {tuple(int(x) for x in text.get_position()[::-1]): text.get_text() for text in found}


def shown(figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


def test_every_weight_stands_at_its_place_in_its_colour():
    A = weights(8, 6)
    keys = [f"k{j}" for j in range(6)]
    figure = attention_matrix(A, WORDS, keys, title="Run 7")
    (ax,) = matrices(figure)
    np.testing.assert_array_equal(ax.images[0].get_array(), A)
    assert (labels(ax.yaxis), labels(ax.xaxis)) == (WORDS, keys) and "Run 7" in shown(figure)
    drawn = pixels(figure)
    for i, j in np.ndindex(A.shape):
        expected = 255 * np.array(WEIGHTS_ON_WHITE(A[i, j])[:3])
        np.testing.assert_allclose(colour_at(drawn, ax, j - 0.42, i - 0.42), expected, atol=3)
    check_layout(figure)


def test_numbers_are_short_and_can_be_read_on_their_colour():
    A = np.array([[0.024, 0.9, 0.08], [0.5, 0.0, 1.0]])
    (ax,) = matrices(attention_matrix(A, ["q0", "q1"], ["k0", "k1", "k2"]))
    assert list(numbers(ax).values()) == [".02", ".90", ".08", ".50", "0", "1"]
    for text in ax.texts:
        if text.get_gid() == "number":
            j, i = text.get_position()
            ground = np.array(WEIGHTS_ON_WHITE(A[i, j])[:3]) @ LUMA
            assert abs(to_rgb(text.get_color())[0] - ground) > 0.35


def test_the_scale_only_darkens():
    grey = WEIGHTS_ON_WHITE(np.linspace(0, 1, 256))[:, :3] @ LUMA
    assert grey[0] > 0.999 and (np.diff(grey) <= 0.002).all() and grey[-1] < 0.3


@pytest.mark.parametrize(("count", "n", "m"), [(1, 5, 5), (2, 8, 8), (4, 8, 8), (8, 24, 49), (5, 12, 16), (12, 4, 4)])
def test_heads_stand_side_by_side_on_one_scale_and_fit_a_notebook(count, n, m):
    A = weights(count, n, m)
    figure = heads(A, [f"w{i}" for i in range(n)], [f"k{j}" for j in range(m)], title="Run 7")
    drawn = matrices(figure)
    np.testing.assert_array_equal([ax.images[0].get_array() for ax in drawn], A)
    bar = figure.axes[-1]._colorbar
    assert {id(ax.images[0].norm) for ax in drawn} == {id(bar.norm)} and (bar.norm.vmin, bar.norm.vmax) == (0, 1)
    assert [text for text in shown(figure) if text.startswith("head ")] == [f"head {i}" for i in range(count)]
    assert len({tuple(ax.get_window_extent().size.round(3)) for ax in drawn}) == 1
    assert figure.get_size_inches().max() < 9.2
    check_layout(figure)


def test_the_end_of_the_scale():
    A = weights(2, 3, 3)
    assert matrices(heads(A, WORDS[:3], WORDS[:3], limit=0.5))[1].images[0].norm.vmax == 0.5
    assert matrices(heads(A, WORDS[:3], WORDS[:3], limit=None))[1].images[0].norm.vmax == A.max()
    assert matrices(attention_matrix(0 * A[0], WORDS[:3], WORDS[:3], limit=None))[0].images[0].norm.vmax == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 49), (24, 49), (49, 49), (196, 196), (30, 2)])
def test_any_size_fits_a_notebook(shape):
    figure = attention_matrix(weights(*shape), [f"word {i}" for i in range(shape[0])], [str(j) for j in range(shape[1])],
                              title="heading")
    assert figure.get_size_inches().max() < 9.2
    check_layout(figure)


def test_matrices_that_are_no_attention():
    figure = heads(weights(2, 3, 3), WORDS[:3], WORDS[:3], titles=["counted", "learnt"], axes=("", ""), bar="cosine")
    assert {"counted", "learnt", "cosine"} <= set(shown(figure)) and not any("looked at" in text for text in shown(figure))
    check_layout(figure)


@pytest.mark.parametrize("key_mask", [None, [True, True, False], [True, True, True]])
@pytest.mark.parametrize("query_mask", [None, [True, False]])
def test_padding_is_hatched_and_named_and_has_no_number(query_mask, key_mask):
    A = weights(2, 3)
    padded = np.zeros((2, 3), bool)
    padded |= False if key_mask is None else ~np.array(key_mask)
    padded |= False if query_mask is None else ~np.array(query_mask)[:, None]
    A[padded] = 0
    masks = [None if mask is None else np.array(mask) for mask in (key_mask, query_mask)]
    figure = attention_matrix(A, WORDS[:2], WORDS[:3], masks[0], query_mask=masks[1])
    (ax,) = matrices(figure)
    hatched = {(int(p.get_y() + 0.5), int(p.get_x() + 0.5)) for p in ax.patches if p.get_hatch()}
    assert hatched == set(map(tuple, np.argwhere(padded).tolist()))
    assert set(numbers(ax)) == set(map(tuple, np.argwhere(~padded).tolist()))
    assert any("hatched: padding" in text for text in shown(figure)) == padded.any()
    check_layout(figure)


def test_a_weight_on_padding_is_a_mistake_that_is_seen():
    A = np.array([[0.6, 0.4]])
    (ax,) = matrices(attention_matrix(A, ["cat"], ["cat", "<pad>"], np.array([True, False])))
    assert numbers(ax) == {(0, 0): ".60", (0, 1): ".40"}


def test_chinese_labels_have_their_font(chinese_font):
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # "Glyph missing" among others
        figure = attention_matrix(weights(12, 12), CHINESE_WORDS, CHINESE_WORDS, title="一只猫")
        many = heads(weights(4, 12, 12), CHINESE_WORDS, CHINESE_WORDS)
        check_layout(figure)
        check_layout(many)
    assert labels(matrices(many)[0].xaxis) == CHINESE_WORDS
    assert all(label.get_fontfamily() == families("猫") for label in matrices(figure)[0].yaxis.get_ticklabels())


def test_labels_are_shown_letter_by_letter_and_cut_where_they_are_too_long():
    columns = ["a_b", "Donaudampfschifffahrtsgesellschaft"]
    figure = attention_matrix(weights(2, 2), ["$5^2$", "w" * 90], columns, title="$x$ for $y$")
    assert {"$5^2$", "$x$ for $y$"} <= set(shown(figure)) and sum(text.endswith("…") for text in shown(figure)) == 2
    assert not any(text.get_parse_math() for text in texts(figure) if "$" in text.get_text())
    check_layout(figure)


def test_from_the_gpu(cupy_standin):
    A, mask = weights(2, 3, 3), np.array([True, True, False])
    ours, theirs = (heads(put(A), WORDS[:3], WORDS[:3], put(mask)) for put in (np.asarray, cupy_standin.asarray))
    np.testing.assert_array_equal(pixels(ours), pixels(theirs))


@pytest.mark.parametrize(("arguments", "options", "message"), [
    ((np.ones((2, 3)), ["a"], ["x", "y", "z"]), {}, "A has 2 queries and 3 keys, but there are 1 and 3 labels"),
    ((np.full((1, 1), np.nan), ["a"], ["x"]), {}, "NaN"),
    ((np.ones((0, 1)), [], ["x"]), {}, "A has shape (1, 0, 1): there is nothing to draw"),
    ((np.ones(3), ["a"], ["x"]), {}, "A has shape (3,), expected 2 axes"),
    ((np.ones((1, 1)), ["a"], ["x"]), {"limit": 0}, "limit=0 ends the scale"),
    ((np.ones((1, 1)), ["a"], ["x"]), {"key_mask": np.ones(2, bool)}, "key_mask"),
])
def test_wrong_input_is_told(arguments, options, message):
    with pytest.raises(ShapeError, match=re.escape(message)):
        attention_matrix(*arguments, **options)


def test_titles_are_counted():
    with pytest.raises(ShapeError, match="1 titles for 2 heads"):
        heads(weights(2, 3, 3), WORDS[:3], WORDS[:3], titles=["one"])


@pytest.mark.parametrize("limit, end", [(0.3, "max"), (1.0, "neither"), (None, "neither")])
def test_the_bar_tells_of_weights_beyond_its_end(limit, end):
    A = np.array([[1 + 1e-7, 0.0]])                     # rounding is not beyond
    assert attention_matrix(A, ["q"], ["a", "b"], limit=limit).axes[-1]._colorbar.extend == end


def test_one_word_over_many_regions_is_no_line():
    figure = attention_matrix(weights(1, 196), ["cat"], [str(j) for j in range(196)])
    assert matrices(figure)[0].get_window_extent().height > 20
    check_layout(figure)
