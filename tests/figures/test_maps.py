"""Attention maps: what is drawn is A_t2v · m and A_v2t · n, on one scale, in the right cell, under the right word."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from attnretrieval.figures.fonts import families
from attnretrieval.figures.maps import word_region_maps
from attnretrieval.figures.style import WEIGHTS, pale
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, colour_at, pixels, texts

CHINESE_WORDS = list("一只黑色的猫在追红色的球")
ENGLISH_WORDS = ("a large black and white dog with a brown stick in its mouth runs through the deep snow next to two "
                 "small laughing children").split()
LOOSE = np.array([[0.5, 0.1, 0.9, 0.4], [0.0, 0.0, 0.3, 0.9], [0.2, 0.3, 0.7, 1.0], [0.6, 0.6, 0.7, 0.7]])     # no grid


def attention(n: int, m: int, heads: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    S = 2 * np.random.default_rng(seed).normal(size=(heads, n, m))
    E = np.exp(S)
    return {"A_t2v": E / E.sum(axis=2, keepdims=True), "A_v2t": np.swapaxes(E / E.sum(axis=1, keepdims=True), 1, 2)}


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)


def draw(words=("a", "black", "dog"), m=6, heads=1, image=None, **options):
    maps = {**attention(len(words), m, heads), "boxes": grid_boxes(2, m // 2), **options}
    return word_region_maps(photo() if image is None else image, words, **maps), maps


def panels(figure):
    """The panels of weights, in pairs: (axes, the collection of its cells), looks at and looked at by."""
    found = [(ax, cells) for ax in figure.axes for cells in ax.collections
             if isinstance(cells, PatchCollection) and cells.get_array() is not None]
    return list(zip(found[::2], found[1::2], strict=True))


def frames(ax) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def outline(box, image) -> list[float]:
    """[x0, y0, x1, y1] of a box in the coordinates of imshow, where pixel 0 reaches from -0.5 to 0.5."""
    height, width = image.shape[:2]
    return [box[0] * width - 0.5, box[1] * height - 0.5, box[2] * width - 0.5, box[3] * height - 0.5]


def drawn_weights(figure):
    return (np.array([cells.get_array() for (_, cells), _ in panels(figure)]),
            np.array([cells.get_array() for _, (_, cells) in panels(figure)]))


@pytest.mark.parametrize("count", [1, 2, 7, 8, 15])
def test_one_pair_of_panels_a_word_in_its_order(count):
    words = [f"w{i}" for i in range(count)]
    figure, maps = draw(words)
    pairs = panels(figure)
    assert [above.get_title() for (above, _), _ in pairs] == words
    for (above, _), (below, _) in pairs:
        over, under = above.get_position(), below.get_position()
        assert over.x0 == pytest.approx(under.x0) and over.y0 > under.y1 and below.get_title() == ""
        assert len(frames(above)) == 2 and not frames(below)
    looks_at, looked_at_by = drawn_weights(figure)
    np.testing.assert_allclose(looks_at, maps["A_t2v"][0] * 6)
    np.testing.assert_allclose(looked_at_by, maps["A_v2t"][0].T * count)


def test_bands_are_of_nearly_one_length():
    figure, _ = draw([f"w{i}" for i in range(8)])           # one too many for one band
    rows = [round(above.get_position().y0, 6) for (above, _), _ in panels(figure)]
    assert rows[:4] == rows[:1] * 4 and rows[4:] == rows[4:5] * 4 and rows[0] > rows[4]


def test_heads():
    figure, maps = draw(heads=3)
    np.testing.assert_allclose(drawn_weights(figure)[0], maps["A_t2v"].mean(axis=0) * 6)
    assert figure.get_suptitle() == "(mean of 3 heads)"
    for head in range(3):
        figure, _ = draw(heads=3, head=head, title="Run 7")
        np.testing.assert_allclose(drawn_weights(figure)[0], maps["A_t2v"][head] * 6)
        np.testing.assert_allclose(drawn_weights(figure)[1], maps["A_v2t"][head].T * 3)
        assert figure.get_suptitle() == f"Run 7   (head {head} of heads 0 to 2)"
    assert draw(head=0)[0].get_suptitle() == ""


def test_padding_is_not_drawn_and_does_not_count():
    words = ["a", "<pad>", "dog", "<pad>"]
    word_mask, region_mask = np.array([True, False, True, False]), np.array([True, True, False, True, True, True])
    figure, maps = draw(words, word_mask=word_mask, region_mask=region_mask)
    pairs = panels(figure)
    assert [above.get_title() for (above, _), _ in pairs] == ["a", "dog"]
    looks_at, looked_at_by = drawn_weights(figure)
    np.testing.assert_allclose(looks_at, maps["A_t2v"][0][np.ix_(word_mask, region_mask)] * 5)
    np.testing.assert_allclose(looked_at_by, maps["A_v2t"][0][np.ix_(region_mask, word_mask)].T * 2)
    (above, cells), _ = pairs[0]
    assert len(cells.get_paths()) == 5
    bare = photo()
    bare[:] = 90
    figure, _ = draw(words, image=bare, word_mask=word_mask, region_mask=region_mask)
    (above, _), _ = panels(figure)[0]
    x0, y0, x1, y1 = outline(grid_boxes(2, 3)[2], bare)
    np.testing.assert_array_equal(colour_at(pixels(figure), above, (x0 + x1) / 2, (y0 + y1) / 2), pale(bare)[0, 0])


@pytest.mark.parametrize("limit", [None, 0.5, 1.5, 40.0])
def test_all_panels_and_the_bar_have_one_scale(limit):
    figure, _ = draw(ENGLISH_WORDS[:9], limit=limit)
    weights = np.concatenate(drawn_weights(figure))
    bar = figure.axes[-1]._colorbar
    assert {id(cells.norm) for pair in panels(figure) for _, cells in pair} == {id(bar.norm)}
    assert (bar.norm.vmin, bar.norm.vmax) == (0, limit or weights.max()) and bar.cmap is WEIGHTS
    assert bar.extend == ("max" if limit and limit < weights.max() else "neither")
    assert [text.get_text() for text in figure.axes[-1].texts] == (["uniform"] if bar.norm.vmax > 1 else [])


def test_attention_that_does_not_choose_is_half_way_up_the_scale():
    figure, _ = draw(A_t2v=np.full((1, 3, 6), 1 / 6), A_v2t=np.full((1, 6, 3), 1 / 3))
    np.testing.assert_allclose(drawn_weights(figure), 1)
    assert figure.axes[-1]._colorbar.norm.vmax == 2


@pytest.mark.parametrize("boxes", [grid_boxes(2, 2), LOOSE], ids=["grid", "no grid"])
@pytest.mark.parametrize("size", [(60, 60), (40, 90), (210, 70), (30, 300)])
def test_cells_and_frame_lie_on_their_boxes(boxes, size):
    image = photo(*size)
    figure, maps = draw(m=4, image=image, boxes=boxes)
    expected = np.array([outline(box, image) for box in boxes])
    regions = figure.axes[0]
    np.testing.assert_array_equal(regions.images[0].get_array(), image)
    drawn = [(regions, grid) for grid in regions.collections]
    for ax, cells in drawn + [panel for pair in panels(figure) for panel in pair]:
        np.testing.assert_allclose([path.get_extents().extents for path in cells.get_paths()], expected)
        assert ax.images[0].get_array().shape == image.shape
    for word, ((above, _), _) in enumerate(panels(figure)):
        for frame in frames(above):
            np.testing.assert_allclose(frame.get_bbox().extents, expected[maps["A_t2v"][0, word].argmax()])
    check_layout(figure)
    shown = above.images[0].get_window_extent()
    assert shown.width / shown.height == pytest.approx(size[1] / size[0], rel=1e-3)


def test_a_cell_has_the_colour_of_its_weight():
    image = photo()
    image[:] = [200, 120, 40]
    figure, maps = draw(image=image)
    scale = figure.axes[-1]._colorbar.norm
    ground, drawn = pale(image)[0, 0], pixels(figure)
    for pair in panels(figure):
        for ax, cells in pair:
            for box, weight in zip(maps["boxes"], cells.get_array(), strict=True):
                x0, y0, x1, y1 = outline(box, image)
                *color, alpha = WEIGHTS(scale(weight))
                expected = (1 - alpha) * ground + alpha * 255 * np.array(color)
                np.testing.assert_allclose(colour_at(drawn, ax, (x0 + x1) / 2, (y0 + y1) / 2), expected, atol=2)


@pytest.mark.parametrize("shade", [0, 255])
def test_the_grid_is_seen_on_dark_and_on_light(shade):
    image = np.full((60, 90, 3), shade, np.uint8)
    figure, maps = draw(image=image)
    ax = figure.axes[0]
    drawn = pixels(figure)
    for _, y0, x1, _ in (outline(box, image) for box in maps["boxes"][:2]):      # the lines between columns
        column, row = (int(v) for v in ax.transData.transform((x1, y0 + 7)))
        line = drawn[len(drawn) - 1 - row, column - 2:column + 3].astype(int)
        assert np.abs(line - shade).max() > 100


def test_a_word_is_shown_letter_by_letter():
    figure, _ = draw(["$5", "a_b^c", r"\frac"], title="$x$ for $y$")
    assert [text.get_parse_math() for text in texts(figure) if set(text.get_text()) & set("$^\\")] == [False] * 4
    check_layout(figure)


def test_chinese_words(chinese_font):
    with warnings.catch_warnings():
        warnings.simplefilter("error")          # "Glyph missing" among others
        figure, _ = draw(CHINESE_WORDS, m=16, boxes=grid_boxes(4, 4))
        check_layout(figure)
    titles = [above.title for (above, _), _ in panels(figure)]
    assert [title.get_text() for title in titles] == CHINESE_WORDS
    assert all(title.get_fontfamily() == families("猫") for title in titles)


@pytest.mark.parametrize(("words", "heads", "title", "size"), [
    (ENGLISH_WORDS, 1, "", (60, 90)),
    (ENGLISH_WORDS[:9], 4, "a large black and white dog " * 9, (30, 200)),
    (["counterclockwise"] * 9, 2, "Run 7", (90, 60)),
    (["Donaudampfschifffahrtsgesellschaftskapitän"] * 3, 1, "", (60, 90)),
    (["dog"], 2, "one word under a title that is a good deal wider than the one panel which is drawn for it here", (200, 30)),
])
def test_no_text_overlaps(words, heads, title, size):
    assert len(ENGLISH_WORDS) == 24
    figure, _ = draw(words, m=16, heads=heads, title=title, boxes=grid_boxes(4, 4), image=photo(*size))
    check_layout(figure)
    assert figure.get_size_inches()[0] < 14


def test_from_the_gpu(cupy_standin):
    maps = {name: cupy_standin.asarray(A) for name, A in attention(3, 6).items()}
    np.testing.assert_array_equal(drawn_weights(draw(**maps)[0]), drawn_weights(draw()[0]))


@pytest.mark.parametrize(("changes", "message"), [
    ({"words": ["a", "dog"], "A_t2v": attention(3, 6)["A_t2v"], "A_v2t": attention(3, 6)["A_v2t"]},
     "2 words for attention of 3; give one label a word, padding too"),
    ({"A_t2v": np.ones((3, 6))}, r"A_t2v has shape (3, 6), expected 3 axes"),
    ({"A_t2v": np.ones((1, 3, 6), int)}, "A_t2v has dtype int64, expected floats"),
    ({"A_v2t": np.ones((1, 3, 6))}, "A_v2t has shape (1, 3, 6), expected (1, 6, 3); the other direction"),
    ({"A_v2t": np.full((1, 6, 3), np.nan)}, "A_v2t holds 18 values that are NaN or infinite"),
    ({"boxes": grid_boxes(7, 7)}, "boxes has shape (49, 4), expected (6, 4); one box a region"),
    ({"word_mask": np.ones(3)}, "word_mask is dtype float64, expected a boolean array"),
    ({"region_mask": np.ones(5, bool)}, "region_mask has shape (5,), which does not broadcast to (6,)"),
    ({"word_mask": np.zeros(3, bool)}, "every word or every region is padding"),
    ({"region_mask": np.zeros(6, bool)}, "every word or every region is padding"),
    ({"head": 1}, "head 1 is asked for, the attention has heads 0 to 0"),
    ({"head": -1}, "head -1 is asked for"),
    ({"limit": 0}, "limit=0 ends the scale of weights"),
    ({"limit": np.nan}, "limit=nan ends the scale of weights"),
    ({"image": np.zeros((4, 5), np.uint8)}, "the image has shape (4, 5) and dtype uint8, expected (height, width, 3) uint8"),
    ({"image": np.zeros((1, 4, 5, 3), np.uint8)}, "expected (height, width, 3) uint8; give one image of the batch"),
    ({"image": np.zeros((4, 5, 3))}, "and dtype float64, expected (height, width, 3) uint8"),
])
def test_wrong_input_is_one_line(changes, message):
    with pytest.raises(ShapeError) as error:
        draw(**changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_nothing_is_framed_where_all_weights_are_equal():
    maps = attention(3, 6)
    maps["A_t2v"][0, 1] = 1 / 6
    figure, _ = draw(**maps)
    assert [len(frames(above)) for (above, _), _ in panels(figure)] == [2, 0, 2]


@pytest.mark.parametrize("side", [4, 7, 14])
def test_a_frame_leaves_the_colour_of_its_cell(side):
    image = photo()
    image[:] = 255
    figure, maps = draw(m=side * side, image=image, boxes=grid_boxes(side, side))
    drawn, scale = pixels(figure), figure.axes[-1]._colorbar.norm
    for (above, cells), _ in panels(figure):
        best = cells.get_array().argmax()
        x0, y0, x1, y1 = outline(maps["boxes"][best], image)
        *colour, alpha = WEIGHTS(scale(cells.get_array()[best]))
        expected = (1 - alpha) * 255 + alpha * 255 * np.array(colour)
        np.testing.assert_allclose(colour_at(drawn, above, (x0 + x1) / 2, (y0 + y1) / 2), expected, atol=25)


def test_forty_words():
    figure, _ = draw([f"word{i}" for i in range(40)], m=196, boxes=grid_boxes(14, 14))
    assert len(panels(figure)) == 40 and figure.get_size_inches()[0] < 14
    check_layout(figure)
