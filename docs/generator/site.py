"""Which file becomes which page of a language's site, and where its links lead.

    docs/<language>/start.md, docs/results.md           start, results
    docs/<language>/derivations/softmax.md              equations/softmax       with what equations.py adds
    notebooks/<language>/2_self_attention.ipynb         lessons/2_self_attention
    made from the package alone                         equations/index, lessons/index, api/…

A page in docs/ gives way to one of the same name in docs/<language>/.

In a file a link leads to another file of the repository, so that it works on a code host too. Here it is turned into a link to
that file's page, in the other language's site where it is one of that; or to the place in the API reference, for a file of the
package; or to a copy, for anything else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

from generator import course, equations, reference
from generator.words import ENGLISH_ONLY, LANGUAGES, SPHINX_LANGUAGE

ROOT = Path(__file__).resolve().parents[2]
THEME = ROOT / "docs" / "theme"
LINK = re.compile(r"\[(?P<text>[^\[\]]*)\]\((?P<target>[^\s()]+)\)")
FENCE = re.compile(r"(^ *(```+|~~~+).*?^ *\2 *$)", re.DOTALL | re.MULTILINE)
NOTEBOOK, BOTH = ".ipynb", "glossary"                       # the glossary is in both languages at once


class PageError(Exception):
    """A page is missing or a link leads nowhere; says which file to write or to mend."""


class Site:
    """The pages of one language."""

    def __init__(self, language: str, root: Path = ROOT) -> None:
        self.language, self.root, self.docs = language, root, root / "docs"
        own = sorted((self.docs / language).glob("*.md"))
        shared = [path for path in sorted(self.docs.glob("*.md"))
                  if not path.name.startswith("README") and path.name not in {mine.name for mine in own}]
        self.derivations = {name: self.docs / language / "derivations" / f"{name}.md" for name in equations.names()}
        notebooks = sorted((root / "notebooks" / language).glob(f"*{NOTEBOOK}"))
        self.files = {path: path.stem for path in [*own, *shared]}
        self.files |= {path: f"equations/{name}" for name, path in self.derivations.items()}
        self.files |= {path: f"lessons/{path.stem}" for path in notebooks}
        self.origins = {self._page(path): path.relative_to(root).as_posix() for path in self.files}

    @cached_property
    def made(self) -> dict[str, str]:
        """The pages without a file: docname.suffix → text."""
        lessons = course.index(self.language)
        return {"equations/index.md": equations.index(self.language, self.derivations), "lessons/index.md": lessons,
                **reference.pages(self.language)}

    @cached_property
    def twins(self) -> dict[str, Site]:
        """The same site in the other languages."""
        return {language: Site(language, self.root) for language in LANGUAGES if language != self.language}

    def docnames(self) -> set[str]:
        return {*self.files.values(), *(name.partition(".")[0] for name in self.made)}

    def settings(self, others: tuple[str, ...]) -> dict:
        """What Sphinx is told besides conf.py. Each page links to its twin in the `others`."""
        twins = {language: (LANGUAGES[language], sorted(self.twins[language].docnames())) for language in others}
        return {"language": SPHINX_LANGUAGE[self.language], "html_context": {"twins": twins}}

    def write(self, folder: Path) -> None:
        """Write the sources of all pages into a folder, for Sphinx."""
        shutil.copytree(THEME / "locale", folder / "locale")            # Sphinx compiles it there
        for name, text in self.made.items():
            _put(folder / name, text)
        for path, docname in self.files.items():
            if not path.is_file():
                raise PageError(f"write {path.relative_to(self.root)}: the equation {path.stem} needs its derivation there")
            _put(folder / self._page(path), self._text(path, docname, folder))

    def _text(self, path: Path, docname: str, folder: Path) -> str:
        """What a file says, as a page."""
        text = path.read_text(encoding="utf-8")
        relink = partial(self.relink, path=path, docname=docname, folder=folder)
        if path.suffix == NOTEBOOK:
            return _of_cells(text, relink)
        if docname.startswith("equations/"):
            problem = equations.problem(path.stem, text)
            if problem:
                raise PageError(f"{path.relative_to(self.root)}: {problem}")
            text += equations.body(path.stem, self.language)
        elif path.parent == self.docs and path.stem != BOTH and ENGLISH_ONLY[self.language]:
            title, _, rest = text.partition("\n")
            text = f"{title}\n\n{ENGLISH_ONLY[self.language]}\n{rest}"
        return relink(text)

    def relink(self, text: str, path: Path, docname: str, folder: Path) -> str:
        """The same Markdown, with its links as they are in the site."""
        def link(match: re.Match) -> str:
            target, _, anchor = match["target"].partition("#")
            if not target or ":" in target:
                return match[0]
            goal = Path(os.path.normpath(path.parent / target))
            page = self.page_of(goal)
            here = os.path.dirname(docname)
            if page:
                page = os.path.relpath(page, here or ".") + (f"#{anchor}" if anchor else "")
                return f"[{match['text']}]({page})"
            for language, twin in self.twins.items():
                page = twin.page_of(goal)
                if page:
                    address = f"../{'../' * docname.count('/')}{language}/{page.rpartition('.')[0]}.html"
                    return f'<a href="{address}" hreflang="{language}">{match["text"]}</a>'
            if not goal.exists() or not goal.is_relative_to(self.root):
                raise PageError(f"{path.relative_to(self.root)} links to {match['target']}, which is no file of the repository")
            inside = goal.relative_to(self.root)
            if inside.parts[0] == "attnretrieval" and (goal.suffix == ".py" or (goal / "__init__.py").exists()):
                module = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
                return f"{{py:mod}}`{match['text'].replace('`', '')} <{module}>`"
            if goal.is_dir():
                raise PageError(f"{path.relative_to(self.root)} links to the folder {match['target']}; link to a file in it")
            copy = folder / "files" / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(goal, copy)
            return f"[{match['text']}]({os.path.relpath(f'files/{inside}', here or '.')})"

        parts = FENCE.split(text)                   # text, code, its fence, text, …
        parts[::3] = [LINK.sub(link, part) for part in parts[::3]]
        del parts[2::3]
        return "".join(parts)

    def page_of(self, goal: Path) -> str | None:
        """The page of a file of the repository, with its suffix; None where it has none."""
        if goal in (self.root / "README.md", self.docs / "README.zh.md"):
            return "index.md"
        if goal in self.files:
            return self._page(goal)
        home = self.docs / self.language                # what is made from the package stands beside start.md
        wanted = goal.relative_to(home).with_suffix("").as_posix() if goal.is_relative_to(home) else None
        return next((page for page in [*self.made, *self.origins] if page.rpartition(".")[0] == wanted), None)

    def _page(self, path: Path) -> str:
        return self.files[path] + path.suffix


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _of_cells(notebook: str, relink: Callable[[str], str]) -> str:
    book = json.loads(notebook)
    for cell in book["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = relink("".join(cell["source"]))
    return json.dumps(book, ensure_ascii=False)
