"""What is written by hand: both languages say the same things, examples hold, links lead somewhere. Needs no Sphinx."""

from __future__ import annotations

import doctest
import re

import pytest
from generator import equations
from generator.site import PageError, Site

from attnretrieval.course.session import session
from tests.docs.conftest import DOCS, LANGUAGES

PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
HEADINGS = {"en": ["Formula", "Gradient", "By hand", "What goes wrong"], "zh": ["公式", "梯度", "手算一例", "常见错误"]}
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts]


def examples(text: str) -> list[str]:
    return [block for block in PYTHON.findall(text) if ">>>" in block]


@pytest.mark.parametrize("equation", equations.names())
def test_a_derivation_has_its_parts_and_the_same_example_in_both_languages(equation):
    texts = {language: (DOCS / language / "derivations" / f"{equation}.md").read_text(encoding="utf-8")
             for language in LANGUAGES}
    for language, text in texts.items():
        assert re.findall(r"^## (.*)", text, re.MULTILINE) == HEADINGS[language]
        assert not equations.problem(equation, text)
        assert examples(text)
    assert examples(texts["en"]) == examples(texts["zh"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_the_examples_of_a_page_hold(page):
    session.exercises.clear()               # hints start with the first
    lines = "\n".join(examples(page.read_text(encoding="utf-8")))
    test = doctest.DocTestParser().get_doctest(lines, {}, page.stem, str(page), 0)
    said: list[str] = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_leads_somewhere(language, tmp_path):
    Site(language).write(tmp_path)


def test_both_languages_have_the_same_pages():
    english, chinese = (Site(language).docnames() for language in LANGUAGES)
    assert english == chinese


@pytest.fixture
def small(tmp_path):
    """A repository with all derivations and one page, and what a page of it becomes."""
    def become(text: str) -> str:
        page = tmp_path / "docs" / "en" / "start.md"
        page.write_text(text, encoding="utf-8")
        return Site("en", tmp_path).relink(text, page, "start", tmp_path / "site")

    (tmp_path / "docs" / "en" / "derivations").mkdir(parents=True)
    (tmp_path / "docs" / "results.md").write_text("# Results\n", encoding="utf-8")
    for name in ("attnretrieval/model.py", "tests/test_model.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("", encoding="utf-8")
    return become


@pytest.mark.parametrize(("link", "becomes"), [
    ("[r](../results.md#flickr)", "[r](results.md#flickr)"),
    ("[s](equations/softmax.md)", "[s](equations/softmax.md)"),
    ("[s](derivations/softmax.md)", "[s](equations/softmax.md)"),
    ("[api](api/index.md)", "[api](api/index.rst)"),
    ("[`model.py`](../../attnretrieval/model.py)", "{py:mod}`model.py <attnretrieval.model>`"),
    ("[t](../../tests/test_model.py)", "[t](files/tests/test_model.py)"),
    ("[中文](../zh/derivations/softmax.md)", '<a href="../zh/equations/softmax.html" hreflang="zh">中文</a>'),
    ("[web](https://example.org/x.md)", "[web](https://example.org/x.md)"),
    ("[here](#part)", "[here](#part)"),
    ("```\n[t](nowhere.md)\n```", "```\n[t](nowhere.md)\n```"),
])
def test_a_link_of_the_repository_becomes_a_link_of_the_site(small, link, becomes):
    assert small(f"# T\n\n{link}\n") == f"# T\n\n{becomes}\n"


def test_a_link_to_nothing_names_its_page(small):
    with pytest.raises(PageError, match="docs/en/start.md links to nowhere.md, which is no file of the repository"):
        small("[x](nowhere.md)")


def test_an_equation_without_its_derivation_names_the_file_to_write(tmp_path):
    (tmp_path / "docs" / "theme").mkdir(parents=True)
    with pytest.raises(PageError, match="write docs/zh/derivations/softmax.md"):
        Site("zh", tmp_path).write(tmp_path / "site")


def test_a_numbered_line_without_a_formula_is_named():
    text = (DOCS / "en" / "derivations" / "softmax.md").read_text(encoding="utf-8")
    assert r"missing: \tag{softmax (2)}" in equations.problem("softmax", text.replace(r"\tag{softmax (2)}", ""))


