"""The page of an explanation in a real browser: Chromium without a window. Skipped where Chromium or selenium is missing.

On Debian: apt install chromium chromium-driver.
"""

from __future__ import annotations

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from attnretrieval.figures import explanation_page
from attnretrieval.inputs.regions import grid_boxes

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
By = pytest.importorskip("selenium.webdriver.common.by").By
Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its chromedriver are not both installed")

FLAGS = ("--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
         "--disable-sync --force-device-scale-factor=1").split()
WORDS = ["a", "black", "</script><b>", "猫"]
HEADS, N, M = 2, len(WORDS), 6


def attention(heads: int, n: int, m: int, seed: int) -> np.ndarray:
    E = np.exp(2 * np.random.default_rng(seed).normal(size=(heads, n, m)))
    return E / E.sum(axis=2, keepdims=True)


MAPS = {"A_t2v": attention(HEADS, N, M, 1), "A_v2t": attention(HEADS, M, N, 2), "A_t": attention(4, N, N, 3),
        "A_v": attention(1, M, M, 4)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_window_size(900, 800)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page():
    return make("en")


def make(language, words=WORDS, **maps):
    return explanation_page(np.full((60, 90, 3), 200, np.uint8), words, boxes=grid_boxes(2, 3), score=0.5, language=language,
                            **{**MAPS, **maps})


@pytest.fixture
def open_page(browser, tmp_path):
    """A function: open this page afresh; as `See`."""
    def open_page(page):
        page.save(tmp_path / "page.html")
        see = See(browser)
        see.prefer("light")
        browser.get((tmp_path / "page.html").as_uri())
        return see
    yield open_page
    assert browser.get_log("browser") == []         # no error, and nothing that the page's policy refused


@pytest.fixture
def see(open_page, page):
    return open_page(page)


class See:
    """What a reader of the page does and sees."""

    def __init__(self, browser):
        self.browser = browser

    def find(self, css: str):
        return self.browser.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, css)

    def words(self) -> list:
        return self.all("#words button")

    def regions(self) -> list:
        return self.all("#picture button")

    def hover(self, element) -> None:
        webdriver.ActionChains(self.browser).move_to_element(element).perform()

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.browser).send_keys(*keys).perform()

    def choose(self, name: str) -> None:
        next(label for label in self.all("fieldset label") if label.text == name).click()

    def focused(self) -> str:
        return self.browser.switch_to.active_element.get_attribute("aria-label")

    def opacities(self) -> np.ndarray:
        """How strongly each region is painted."""
        colours = [region.value_of_css_property("background-color") for region in self.regions()]
        return np.array([float(c.split(",")[3].strip(" )")) if c.startswith("rgba") else 1.0 for c in colours])

    def numbers(self) -> list[str]:
        """What stands below each word."""
        return [word.find_element(By.CSS_SELECTOR, "small").text for word in self.words()]

    def says(self) -> str:
        return self.find("#says").text

    def said(self) -> set[str]:
        """Every text and every label that the page has now, seen or only spoken."""
        return set(self.browser.execute_script("""
            const found = [document.title], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walk.nextNode())
                if (!walk.currentNode.parentElement.closest("script, noscript")) found.push(walk.currentNode.data);
            for (const element of document.querySelectorAll("*"))
                for (const name of element.getAttributeNames())
                    if (/^(aria-label|title|alt|placeholder)$/.test(name)) found.push(element.getAttribute(name));
            return found.map(text => text.trim()).filter(text => text);
        """))

    def prefer(self, theme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self, css: str = "body") -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.find(css).screenshot_as_png)).convert("RGB")).astype(int)


def same_order(painted: np.ndarray, weights: np.ndarray) -> bool:
    """The heavier a region, the stronger its colour."""
    return bool((np.diff(painted[np.argsort(weights)]) >= 0).all() and painted.max() > painted.min())


def test_captions_are_texts(see):
    assert [word.text for word in see.words()] == WORDS and not see.all("b")
    assert "0.5" in see.find("#score").text and len(see.regions()) == M


def test_hovering_a_word_lights_its_regions(see):
    assert not see.opacities().any() and see.says().startswith("Point at a word")
    for i, word in enumerate(see.words()):
        see.hover(word)
        weights = MAPS["A_t2v"].mean(axis=0)[i]
        assert same_order(see.opacities(), weights)
        most = see.all("#picture .most")
        assert [region.get_attribute("aria-label") for region in most] == [
            f"row {weights.argmax() // 3 + 1}, column {weights.argmax() % 3 + 1} of the image"]
        assert f"“{WORDS[i]}” looks at" in see.says() and f"{M * weights.max():.1f}× uniform" in see.says()
    see.hover(see.find("h1"))
    assert not see.opacities().any()


def test_hovering_a_region_lights_the_words_that_look_at_it_and_nothing_moves(see):
    before = [word.rect for word in see.words()]
    see.hover(see.regions()[4])
    assert see.numbers() == [f"{M * w:.1f}×" for w in MAPS["A_t2v"].mean(axis=0)[:, 4]]
    assert "Row 2, column 2 is looked at by" in see.says()
    assert [word.rect for word in see.words()] == before


def test_the_other_direction(see):
    see.choose("image → text")
    see.hover(see.regions()[4])
    assert see.numbers() == [f"{N * w:.1f}×" for w in MAPS["A_v2t"].mean(axis=0)[4]]
    assert "Row 2, column 2 looks at" in see.says()
    see.hover(see.words()[1])
    assert same_order(see.opacities(), MAPS["A_v2t"].mean(axis=0)[:, 1]) and "is looked at by" in see.says()


def test_heads_keep_their_scale(see):
    limit = M * MAPS["A_t2v"].max()
    head = see.find("#head")
    assert [option.text for option in see.all("#head option")] == ["mean of 2 heads", "head 0", "head 1"]
    for i in range(HEADS):
        head.send_keys(Keys.ARROW_DOWN)
        see.hover(see.regions()[0])
        assert see.numbers() == [f"{M * w:.1f}×" for w in MAPS["A_t2v"][i, :, 0]] 
        assert see.find("#ticks").text.split("\n")[-1] == f"{limit:.1f}×"


def test_self_attention_of_each_side(see):
    see.choose("Words")
    see.hover(see.words()[0])
    assert see.numbers() == [f"{N * w:.1f}×" for w in MAPS["A_t"].mean(axis=0)[0]]
    see.choose("is looked at by")
    see.hover(see.words()[0])
    assert see.numbers() == [f"{N * w:.1f}×" for w in MAPS["A_t"].mean(axis=0)[:, 0]]
    see.hover(see.regions()[0])
    assert see.says().startswith("Point at") and "take no part" in see.find("#note").text
    see.choose("Regions")
    see.hover(see.regions()[3])
    assert same_order(see.opacities(), MAPS["A_v"][0, 3]) and not see.find("#head").is_enabled()


def test_the_keyboard_reaches_everything(see):
    stops = []
    for _ in range(9):
        see.press(Keys.TAB)
        element = see.browser.switch_to.active_element
        stops.append(element.get_attribute("id") or element.get_attribute("aria-label") or element.get_attribute("name"))
    assert stops[:7] == ["theme", "layer", "view", "head", "row 1, column 1 of the image", "a, word 1 of 4", "numbers"]


def test_arrow_keys_move_and_light(see):
    see.browser.execute_script("arguments[0].focus()", see.regions()[0])
    for key, place in ((Keys.ARROW_RIGHT, "row 1, column 2"), (Keys.ARROW_DOWN, "row 2, column 2"),
                       (Keys.ARROW_DOWN, "row 2, column 2"), (Keys.ARROW_LEFT, "row 2, column 1"),
                       (Keys.ARROW_UP, "row 1, column 1"), (Keys.END, "row 2, column 3"), (Keys.HOME, "row 1, column 1")):
        see.press(key)
        assert see.focused() == f"{place} of the image"
        assert see.says().lower().startswith(f"{place} is looked at by")
    see.press(Keys.TAB, Keys.ARROW_RIGHT)
    assert see.focused() == "black, word 2 of 4" and same_order(see.opacities(), MAPS["A_t2v"].mean(axis=0)[1])
    outline = see.browser.switch_to.active_element.value_of_css_property("outline")
    assert "3px" in outline and "none" not in outline           # seen, not only felt
    see.press(Keys.ARROW_RIGHT, Keys.TAB)
    webdriver.ActionChains(see.browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert see.focused() == f"{WORDS[2]}, word 3 of 4"          # the group is entered where it was left
    see.press(Keys.ESCAPE)
    assert see.says().startswith("Point at")


def test_the_numbers(see):
    assert not see.find("#table").is_displayed()
    see.find("#numbers").click()
    assert see.find("#numbers").get_attribute("aria-expanded") == "true"
    rows = [[cell.text for cell in row.find_elements(By.CSS_SELECTOR, "td")] for row in see.all("tbody tr")]
    A = MAPS["A_t2v"].mean(axis=0)
    assert rows == [[f"{a:.3f}" for a in [*A[i].round(5), 1.0]] for i in range(N)]
    assert [th.text for th in see.all("tbody th")] == WORDS
    see.hover(see.words()[2])
    assert [row.text for row in see.all("tr.chosen")] == [see.all("tbody tr")[2].text]
    see.choose("image → text")
    assert len(see.all("tbody tr")) == M and "A_v2t" in see.find("caption").text
    see.find("#numbers").click()
    assert not see.find("#table").is_displayed()


@pytest.mark.parametrize("prefers", ["light", "dark"])
def test_dark_and_light(see, prefers):
    see.prefer(prefers)
    see.browser.refresh()
    for theme in (prefers, {"light": "dark", "dark": "light"}[prefers]):
        ground = np.median(see.screenshot().reshape(-1, 3), axis=0)
        assert (ground < 60).all() if theme == "dark" else (ground > 240).all()
        see.find("#theme").click()


def test_the_screenshot_shows_the_weights_in_both_themes(see):
    """Where a region weighs more, its pixels are darker; the colours do not depend on the theme."""
    weights = MAPS["A_t2v"].mean(axis=0)[1]
    pictures = []
    for _ in range(2):
        see.find("#theme").click()
        see.hover(see.words()[1])
        picture = see.screenshot("#picture")
        height, width, _ = picture.shape
        centres = picture[[height // 4, 3 * height // 4]][:, [width // 6, width // 2, 5 * width // 6]].reshape(M, 3)
        order = np.argsort(weights)
        assert (np.diff(centres.mean(axis=1)[order]) <= 0).all() and np.ptp(centres.mean(axis=1)) > 60
        pictures.append(centres)
    np.testing.assert_array_equal(*pictures)


def test_a_narrow_window_has_no_sideways_scrolling(see):
    see.browser.set_window_size(500, 800)
    try:
        wide = see.browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide[0] <= wide[1]
        assert see.words()[0].rect["y"] > see.regions()[-1].rect["y"]           # one below the other
    finally:
        see.browser.set_window_size(900, 800)


def test_between_two_words_the_light_stays(see):
    first, second = (see.words()[i].rect for i in (0, 1))
    see.hover(see.words()[0])
    lit = see.opacities()
    gap = (first["x"] + first["width"] + second["x"]) / 2 - (first["x"] + first["width"] / 2)
    assert second["x"] - first["x"] - first["width"] >= 4
    webdriver.ActionChains(see.browser).move_by_offset(int(gap), 0).perform()
    np.testing.assert_array_equal(see.opacities(), lit)
    see.hover(see.find("h1"))
    assert not see.opacities().any()


def test_a_long_text_in_a_narrow_window(open_page):
    """The picture stays in sight while one reads on, the word in focus is not behind it, and no word is wider than the page."""
    words = ["Donaudampfschifffahrtsgesellschaftskapitänswitwenversicherung", *["猫"] * 119]
    n = len(words)
    see = open_page(make("en", words, A_t2v=attention(12, n, M, 1), A_v2t=attention(12, M, n, 2), A_t=None))
    see.browser.set_window_size(500, 800)
    try:
        inside = "return document.documentElement.scrollWidth <= window.innerWidth"
        assert see.browser.execute_script(inside)
        see.browser.execute_script("arguments[0].focus()", see.words()[0])
        for key, at in ((Keys.END, n - 1), *[(Keys.ARROW_LEFT, n - 1 - i) for i in range(1, 30)]):
            see.press(key)
            picture, word = (see.browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", element)
                             for element in (see.find("#left"), see.words()[at]))
            assert picture["top"] >= 0 and picture["bottom"] <= word["top"] < word["bottom"] <= 800
    finally:
        see.browser.set_window_size(900, 800)


def everything_said(see) -> set[str]:
    """What the page says in all layers and directions, for a word and for a region, with the numbers and without."""
    said = see.said()
    see.find("#numbers").click()
    layers = [label for label in see.all("#layers label") if label.is_displayed()]      # one alone is not offered
    for layer in layers or [see.find("h1")]:
        layer.click()
        for view in see.all("#views label"):
            view.click()
            for item in (see.words()[0], see.regions()[4], see.find("h1")):
                see.hover(item)
                said |= see.said()
    return said


def test_the_page_in_chinese_has_no_english_word(open_page):
    """What remains in Latin letters are the names of the equations and of a key."""
    words = ["一只", "黑色", "的", "猫"]
    see = open_page(make(None, words))
    assert see.find("html").get_attribute("lang") == "zh-CN"
    said = everything_said(see)
    assert {"谁在看谁", "显示数值", "隐藏数值", "“一只”在看：", "1 = 均匀"} <= said
    assert any(text.startswith("“一只”：均匀的 ") for text in said)
    for maps in ({"A_t": None}, {"A_v": None}, {"A_t": None, "A_v": None}):
        said |= open_page(make(None, words, **maps)).said()
    latin = {word for text in said for word in re.findall(r"[A-Za-z_]\w*", re.sub("[\u3400-\u9fff]", " ", text))}
    assert latin <= {"A_t2v", "A_v2t", "A_t", "A_v", "s", "t", "v", "Tab"}


def test_the_page_in_english_has_chinese_only_in_the_caption(open_page):
    said = everything_said(open_page(make("en", ["猫"] * N)))
    assert {text.replace("猫", "").strip() for text in said if "谁" in text or "看" in text} == set()
    assert {"Who looks at whom", "Hide the numbers", "“猫” looks at"} <= said


def test_keys_in_the_chinese_page(open_page):
    see = open_page(make("zh"))
    see.browser.execute_script("arguments[0].focus()", see.regions()[0])
    see.press(Keys.ARROW_RIGHT)
    assert see.focused().replace("\u00a0", " ") == "图像的第 1 行第 2 列"
    assert see.says().replace("\u00a0", " ").startswith("在看第 1 行第 2 列的是：")
    see.press(Keys.TAB)
    assert see.focused() == "a，第 1 个词，共 4 个" and see.says().startswith("“a”在看：")


def test_in_a_notebook(browser, page, tmp_path):
    (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'>{page._repr_html_()}", encoding="utf-8")
    browser.get((tmp_path / "notebook.html").as_uri())
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    see = See(browser)
    see.hover(see.words()[0])
    assert same_order(see.opacities(), MAPS["A_t2v"].mean(axis=0)[0])
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []
