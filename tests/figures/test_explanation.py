"""The page of an explanation: what a file holds. test_explanation_browser.py looks at what a browser makes of it."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from importlib import resources

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from attnretrieval.figures import explanation_page
from attnretrieval.figures.explanation import IMAGE_SIDE, LANGUAGES, LARGEST, region_labels, words_of_page
from attnretrieval.figures.style import WEIGHTS
from attnretrieval.inputs.files import InputError
from attnretrieval.inputs.regions import grid_boxes
from attnretrieval.inputs.words import has_han
from attnretrieval.shapes import ShapeError

EVIL = ["</script><b>bold</b>", "<!--", "&lt;", "{{script}}", '"\'\\', "\u2028", "猫", "$&"]


def attention(heads: int, n: int, m: int, seed: int = 0) -> np.ndarray:
    E = np.exp(2 * np.random.default_rng(seed).normal(size=(heads, n, m)))
    return E / E.sum(axis=2, keepdims=True)


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3)).astype(np.uint8)


def make(words=("a", "black", "cat"), m: int = 6, heads: int = 2, image=None, **options):
    n = len(words)
    given = {"A_t2v": attention(heads, n, m, 1), "A_v2t": attention(heads, m, n, 2), "A_t": attention(4, n, n, 3),
             "A_v": attention(3, m, m, 4), "boxes": grid_boxes(2, m // 2), **options}
    return explanation_page(photo() if image is None else image, words, **given), given


def data_of(page) -> dict:
    """What the script reads: the text between the tag's ends, as a browser finds it."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script', page.html, re.DOTALL)
    return json.loads(text)


def test_the_page_holds_the_maps_to_five_digits_the_mean_of_the_heads_first():
    page, given = make(score=0.25, title="A black cat.")
    data = data_of(page)
    assert (data["title"], data["score"], data["words"]) == ("A black cat.", 0.25, ["a", "black", "cat"])
    assert data["regions"][:4] == ["row 1, column 1", "row 1, column 2", "row 1, column 3", "row 2, column 1"]
    np.testing.assert_allclose(data["boxes"], given["boxes"], atol=1e-5)
    assert set(data["maps"]) == {"A_t2v", "A_v2t", "A_t", "A_v"}
    for name, drawn in data["maps"].items():
        A = given[name]
        assert drawn["names"] == [f"mean of {len(A)} heads", *(f"head {i}" for i in range(len(A)))]
        np.testing.assert_allclose(drawn["heads"], [A.mean(axis=0), *A], atol=1e-5)
        ends = [max(2, part.max() * A.shape[2]) for part in (A.mean(axis=0), *[A] * len(A))]
        np.testing.assert_allclose(drawn["limits"], ends, atol=1e-3)
    assert data["colours"][-1] == to_hex(WEIGHTS(1.0))
    assert (data["opacity"][0], data["opacity"][-1]) == (0, 0.9)


def test_one_head_is_not_drawn_twice_and_missing_layers_are_left_out():
    data = data_of(make(heads=1, A_t=None, A_v=None)[0])
    assert set(data["maps"]) == {"A_t2v", "A_v2t"} and data["maps"]["A_t2v"]["names"] == ["the only head"]
    assert len(data["maps"]["A_t2v"]["heads"]) == 1 and data["score"] is None


@pytest.mark.parametrize(("heads", "head", "opens"), [(2, None, 0), (2, 0, 1), (2, 1, 2), (1, 0, 0), (1, None, 0)])
def test_the_head_that_the_page_opens_with(heads, head, opens):
    assert data_of(make(heads=heads, head=head)[0])["head"] == opens


def test_padding_is_left_out():
    words, regions = np.array([True, False, True]), np.array([True, True, False, True, True, True])
    page, given = make(word_mask=words, region_mask=regions)
    data = data_of(page)
    assert data["words"] == ["a", "cat"] and len(data["boxes"]) == len(data["regions"]) == 5
    for name, (rows, columns) in {"A_t2v": (words, regions), "A_v2t": (regions, words), "A_t": (words, words),
                                  "A_v": (regions, regions)}.items():
        np.testing.assert_allclose(data["maps"][name]["heads"][1], given[name][0][np.ix_(rows, columns)], atol=1e-5)


def test_texts_of_a_user_stay_texts():
    page, _ = make(words=EVIL, title=" ".join(EVIL))
    assert data_of(page)["words"] == EVIL and data_of(page)["title"] == " ".join(EVIL)
    script = re.search(r'id="data">(.*?)</script>\s*<script>', page.html, re.DOTALL)[1]
    assert not set(script) & set("<>&\u2028\u2029")
    assert "<b>" not in page.html and page.html.count("</script>") == 2
    assert html.escape(" ".join(EVIL)) + " · 谁在看谁" == re.search("<title>(.*?)</title>", page.html, re.DOTALL)[1]
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b", page.html)


def test_the_page_needs_no_network():
    page, _ = make()
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(|\bsrc=|\bhref=|fetch\(|XMLHttp|\bimport\b", page.html)
    assert "default-src 'none'" in page.html            # and a browser is told to load nothing
    assert page.html.isascii() or '<meta charset="utf-8">' in page.html[:200]


def test_a_large_photograph_makes_a_small_page_in_its_shape():
    smooth = np.repeat(np.linspace(0, 255, 4000)[None], 3000, 0)[..., None].repeat(3, 2).astype(np.uint8)
    page, _ = make(image=smooth)
    kind, code = re.match("data:image/(png|jpeg);base64,(.*)", data_of(page)["image"]).groups()
    picture = Image.open(io.BytesIO(base64.b64decode(code)))
    assert picture.size == (IMAGE_SIDE, IMAGE_SIDE * 3 // 4) and picture.format.lower() == kind
    noise, _ = make(image=photo(1500, 2000))
    assert len(page.html.encode()) < len(noise.html.encode()) < LARGEST


def test_a_drawing_is_kept_to_the_pixel():
    flat = np.zeros((64, 64, 3), np.uint8)
    flat[16:40, 8:50] = [200, 30, 30]
    kind, code = re.match("data:image/(png|jpeg);base64,(.*)", data_of(make(image=flat)[0])["image"]).groups()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))), flat)
    assert kind == "png"


def test_names_of_regions():
    english, chinese = words_of_page("en"), words_of_page("zh")
    assert region_labels(grid_boxes(2, 2), english) == [f"row {r}, column {c}" for r in (1, 2) for c in (1, 2)]
    assert region_labels(grid_boxes(1, 1), english) == ["row 1, column 1"]
    assert region_labels(np.array([[0, 0, 0.5, 1], [0.2, 0.1, 0.4, 0.4]]), english) == ["region 1", "region 2"]
    assert region_labels(grid_boxes(2, 2)[:3], english) == ["region 1", "region 2", "region 3"]
    assert region_labels(grid_boxes(1, 2), chinese)[1].replace("\u00a0", " ") == "第 1 行第 2 列"


def test_every_word_of_the_page_is_said_in_both_languages_with_the_same_gaps():
    words = {language: words_of_page(language) for language in LANGUAGES}
    assert list(words["en"]) == list(words["zh"])
    for key, english in words["en"].items():
        chinese = words["zh"][key]
        assert english.strip() and chinese.strip(), key
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", chinese)), key
        assert has_han(chinese) or key == "language", f"{key} is still English: {chinese}"


def test_the_page_uses_every_word_and_no_other():
    files = resources.files("attnretrieval.figures")
    template, script, python = (files.joinpath(name).read_text(encoding="utf-8")
                                for name in ("page/page.html", "page/page.js", "explanation.py"))
    gaps = set(re.findall(r"{{(\w+)}}", template)) - {"title", "data", "style", "script"}
    called = set(re.findall(r'say(?:\(|\[)"(\w+)"', script + python))
    assert gaps | called <= words_of_page("en").keys()
    unused = [key for key in words_of_page("en") if key not in gaps and f'"{key}"' not in script + python]
    assert unused == []
    shown = re.sub(r"<(style|script).*?</\1>|<!DOCTYPE html>|{{\w+}}", "", template, flags=re.DOTALL)
    assert not re.findall(r">[^<]*\w[^<]*<", shown)                 # the template itself has no word
    assert not re.findall(r'(?:aria-label|title|alt)="[^"]+"', shown)


@pytest.mark.parametrize(("words", "language", "expected"), [
    (["a", "cat"], None, "en"), (["一", "猫"], None, "zh-CN"), (["a", "猫"], None, "zh-CN"),
    (["a", "cat"], "zh", "zh-CN"), (["一", "猫"], "en", "en"),
])
def test_the_language_is_that_of_the_text_unless_it_is_given(words, language, expected):
    page, _ = make(words=words, language=language)
    assert re.search('<html lang="(.*?)">', page.html)[1] == expected
    heading = {"en": "Who looks at whom", "zh-CN": "谁在看谁"}[expected]
    assert f"<h1>{heading}</h1>" in page.html and f" · {heading}</title>" in page.html
    data = data_of(page)
    assert data["text_language"] == ("zh-CN" if "猫" in words else "en")
    assert data["maps"]["A_t2v"]["names"][0] == {"en": "mean of 2 heads", "zh-CN": "2 个头的平均"}[expected]


def test_a_language_that_the_page_does_not_speak():
    with pytest.raises(ValueError, match="language='cn' is not one of en, zh"):
        make(language="cn")


def test_it_shows_in_a_notebook_without_reaching_it():
    page, _ = make(title='a "cat"')
    shown = page._repr_html_()
    (inner,) = re.findall(r'srcdoc="([^"]*)"', shown)
    assert html.unescape(inner) == page.html and 'sandbox="allow-scripts"' in shown
    assert repr(page).count("\n") == 0 and 'a "cat"' in repr(page)


def test_save(tmp_path):
    page, _ = make(words=["一", "只", "猫"])
    page.save(tmp_path / "new" / "page.html")
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == page.html and page.title == "一只猫"
    with pytest.raises(InputError, match="its ending is not .html"):
        page.save(tmp_path / "page.png")


@pytest.mark.parametrize(("changes", "message"), [
    ({"words": ["a"]}, "1 words for attention of 3"),
    ({"head": 2}, "head 2 is asked for, the attention has heads 0 to 1"),
    ({"A_t": attention(2, 4, 4)}, "A_t has shape (2, 4, 4), expected (2, 3, 3)"),
    ({"A_v": attention(2, 5, 6)[0]}, "A_v has shape (5, 6), expected 3 axes"),
    ({"A_v": np.full((1, 6, 6), np.nan)}, "A_v"),
])
def test_wrong_inputs_are_explained(changes, message):
    words = changes.pop("words", ["a", "black", "cat"])
    given = {"A_t2v": attention(2, 3, 6), "A_v2t": attention(2, 6, 3), "boxes": grid_boxes(2, 3), **changes}
    with pytest.raises(ShapeError, match=re.escape(message)):
        explanation_page(photo(), words, **given)


def test_a_page_that_would_be_too_large_says_what_to_leave_out():
    with pytest.raises(ShapeError, match="leave out the self-attention"):
        make(m=300, A_v=attention(8, 300, 300))


def test_from_the_gpu(cupy_standin):
    plain, given = make()
    maps = {name: cupy_standin.asarray(given[name]) for name in ("A_t2v", "A_v2t", "A_t", "A_v")}
    assert make(**maps)[0] == plain
