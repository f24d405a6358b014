"""Result sheets: everything that was found, in its order, with rank, score and a mark that needs no colour."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.figures.sheet import CAPTIONS, COLUMNS, retrieval_sheet
from attnretrieval.shapes import ShapeError
from tests.figures.look import check_layout, pixels, texts

LONG = "a large black and white dog with a brown stick in its mouth runs through the deep snow and " * 3
SIZES = [(60, 90), (90, 60), (60, 60), (30, 200), (200, 30)]


def photo(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZES[number % 5], 3)).astype(np.uint8)


def images(count: int) -> list[tuple]:
    return [(photo(i), 0.9 - 0.1234 * i, [True, False, None][i % 3]) for i in range(count)]


def lines(figure) -> list[list[str]]:
    """The texts of a list of captions, line by line from the top and from left to right."""
    pixels(figure)
    placed = [(text.get_window_extent(), text.get_text()) for text in texts(figure)]
    rows = {}
    for box, text in placed:
        rows.setdefault(round((box.y0 + box.y1) / 2 / 18), []).append((box.x0, text))
    return [[text for _, text in sorted(row)] for _, row in sorted(rows.items(), reverse=True)]


@pytest.mark.parametrize("count", [1, 2, 6, 7, 20])
def test_a_text_finds_images(count):
    figure = retrieval_sheet("a black dog", images(count))
    assert figure.get_suptitle() == "a black dog"
    assert len(figure.axes) == count
    corners = []
    for rank, (ax, (image, score, right)) in enumerate(zip(figure.axes, images(count), strict=True), start=1):
        np.testing.assert_array_equal(ax.images[0].get_array(), image)
        mark = {True: "   ✓ right", False: "   ✗ wrong", None: ""}[right]
        assert ax.get_title() == f"{rank}   {score:.3f}{mark}"
        corners.append((-round(ax.get_position().y1, 6), ax.get_position().x0))
    assert corners == sorted(corners) and len({y for y, _ in corners}) == -(-count // COLUMNS)
    check_layout(figure)


@pytest.mark.parametrize("query", [LONG, "W" * 300, "$5 for $x^2$", "猫" * 60, "", "two\nlines"])
def test_every_query_has_room(chinese_font, query):
    for count in (1, 6):
        figure = retrieval_sheet(query, images(count))
        check_layout(figure)
        assert "".join(figure.get_suptitle().split()) == "".join(query.split())     # whole, whatever its length
    assert not any(text.get_parse_math() for text in figure.texts)


def test_an_image_finds_texts(chinese_font):
    found = [("a dog", 0.912, True), ("$5 and $6", 0.5, False), ("一只黑色的猫", -0.0123, None)]
    figure = retrieval_sheet(photo(1), found)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), photo(1))
    assert lines(figure) == [["1", "0.912", "✓", "a dog"], ["2", "0.500", "✗", "$5 and $6"], ["3", "-0.012", "一只黑色的猫"]]
    assert not any(text.get_parse_math() for text in texts(figure) if "$" in text.get_text())
    check_layout(figure)


@pytest.mark.parametrize("number", range(5))
def test_long_captions_are_cut_to_fit(chinese_font, number):
    long = [LONG, "W" * 200, "猫" * 200, "i" * 75]
    figure = retrieval_sheet(photo(number), [(text, 0.5, True) for text in long * 6])
    check_layout(figure)
    shown = [line[-1] for line in lines(figure)]
    assert len(shown) == CAPTIONS
    for whole, text in zip(long, shown[:3], strict=False):
        assert text.endswith("…") and whole.startswith(text[:-1]) and len(text) > 30
    assert shown[3] == long[3]                                  # narrow letters: nothing to cut


def test_nothing_found():
    for query in ("a dog", photo(0)):
        with pytest.raises(ShapeError, match="nothing was found: there is nothing to draw"):
            retrieval_sheet(query, [])


def test_right_images_are_framed_and_no_others():
    for rights in ([True, False, None], [False, False, False]):         # also where nothing right was found
        figure = retrieval_sheet("a dog", [(photo(i), 0.5, right) for i, right in enumerate(rights)])
        assert [len(ax.patches) for ax in figure.axes] == [int(right is True) for right in rights]
        assert [ax.get_title()[:9] for ax in figure.axes] == ["1   0.500", "2   0.500", "3   0.500"]
        check_layout(figure)
    drawn = pixels(retrieval_sheet("a dog", [(np.full((60, 60, 3), 128, np.uint8), 0.5, right) for right in (True, False)]))
    grey = drawn @ np.array([0.299, 0.587, 0.114])
    middle = grey.shape[1] // 2
    assert np.ptp(grey[-60, 11:middle - 20]) > 20 > np.ptp(grey[-60, middle + 20:-15])      # the frame is seen in grey print


def test_a_long_score_has_room():
    check_layout(retrieval_sheet("a dog", [(photo(0), score, False) for score in (-1e9, 1234.5678, float("nan"))] * 2))


@pytest.mark.parametrize("query, result, message", [
    ("a dog", "a cat", r"the image of result 1 has shape \(\) and dtype <U5, expected \(height, width, 3\) uint8"),
    ("a dog", photo(0)[None], "the image of result 1 .* give one image of the batch"),
    (photo(0)[None], "a cat", "the query has shape .* give one image of the batch"),
    (photo(0), photo(1), "result 1 is a ndarray, expected a text: the query is an image"),
])
def test_what_is_wrong_is_named(query, result, message):
    with pytest.raises(ShapeError, match=message):
        retrieval_sheet(query, [(result, 0.5, None)])
