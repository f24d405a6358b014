"""The built sites: no warning, nothing from the network, every equation, every link."""

from __future__ import annotations

import html
import inspect
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from generator import equations

from tests.docs.conftest import LANGUAGES

LOADS = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"'](?P<address>[^\"']*)", re.IGNORECASE)
OF_STYLES = re.compile(r"(?:@import\s+|url\()[\"']?(?:https?:)?//")
REMOTE = re.compile(r"(?:https?:)?//")
HREF = re.compile(r"<a\b[^>]*?\bhref=\"(?P<address>[^\"]*)\"")
ID = re.compile(r"\bid=\"([^\"]*)\"")


def test_it_builds_without_a_warning(built):
    assert (built.code, built.errors) == (0, "")
    assert (built.folder / "index.html").is_file()


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_loaded_from_the_network(built, language):
    pages = built.pages(language)
    for name, page in pages.items():
        assert not [address for address in LOADS.findall(page) if REMOTE.match(address)], name
    for style in (built.folder / language / "_static").rglob("*.css"):
        assert not OF_STYLES.search(style.read_text(encoding="utf-8")), style
    mathjax = {address.partition("?")[0] for address in LOADS.findall(pages["equations/attention"]) if "mathjax" in address}
    assert len(mathjax) == 1 and (built.folder / language / "equations" / mathjax.pop()).resolve().is_file()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("equation", equations.names())
def test_an_equation_has_its_page_with_formula_code_and_check(built, language, equation):
    page = built.pages(language)[f"equations/{equation}"]
    text = html.unescape(re.sub("<[^>]*>", "", page))
    module = equations.module(equation)
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", None) == module.__name__:
            assert inspect.getsource(thing).strip() in text, f"{name} is not on the page"
    for number in equations.NUMBERED.findall(inspect.getdoc(module)):
        assert re.search(rf"\\tag\{{{equation}\b[^}}]*\({number}\)\}}", text)
    assert "attnretrieval gradcheck " + equation in text and re.search(r"\de-1\d", text)
    assert f"test_{equation}.py" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_leads_to_a_place_that_exists(built, language):
    home, anchors, broken = built.folder / language, {}, []
    for name, page in built.pages(language).items():
        for address in map(html.unescape, HREF.findall(page)):
            if re.match(r"\w+:", address):
                continue
            file, _, anchor = address.partition("#")
            goal = (home / name).parent.joinpath(unquote(file)).resolve() if file else Path(f"{home / name}.html").resolve()
            if goal not in anchors:
                is_page = goal.suffix == ".html" and goal.is_file()
                anchors[goal] = set(ID.findall(goal.read_text(encoding="utf-8"))) if is_page else ()
            if not goal.is_file() or (anchor and unquote(anchor) not in anchors[goal]):
                broken.append(f"{name}: {address}")
    assert not broken


def test_each_page_is_there_in_both_languages_and_links_to_the_other(built):
    english, chinese = (built.pages(language) for language in LANGUAGES)
    assert set(english) == set(chinese)
    for name in set(english) - {"search"}:
        assert f"../zh/{name}.html" in english[name] and f"../en/{name}.html" in chinese[name]


def test_the_theme_speaks_chinese(built):
    page = built.pages("zh")["equations/attention"]
    assert '<html class="no-js" lang="zh-CN"' in page
    for words in ("本页内容", "跳到正文", "搜索", "梯度检验"):
        assert words in page
    assert not re.search(r">\s*(On this page|Back to top|Next|Previous|Skip to content)\s*<", page)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_public_function_is_in_the_reference(built, language):
    from generator.reference import parts

    for part, modules in parts().items():
        page = built.pages(language)[f"api/{part}"]
        for module in modules:
            assert f'id="module-{module}"' in page
    assert 'id="attnretrieval.equations.attention.attention_backward"' in built.pages(language)["api/equations"]


@pytest.mark.parametrize(("language", "words"), [("en", "softmax"), ("zh", "交叉注意力")])
def test_the_search_finds_pages(built, language, words):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("the search needs a browser: chromium")
    page = f"{(built.folder / language / 'search.html').as_uri()}?q={quote(words)}"
    shown = subprocess.run([chromium, "--headless", "--no-sandbox", "--virtual-time-budget=8000", "--dump-dom", page],
                           capture_output=True, text=True, encoding="utf-8", timeout=120).stdout
    assert 'href="equations/' in shown.partition('id="search-results"')[2]
