"""MathJax: the files that a page can ask for, and formulas that carry their number."""

from __future__ import annotations

import shutil
from pathlib import Path

from docutils import nodes

NEEDED = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions")     # 2 of the package's 24 MB


def copy_mathjax(source: Path, out: Path) -> None:
    for name in NEEDED:
        target = out / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True)
        else:
            shutil.copy(source / name, target)


def let_tags_stand(app, doctree: nodes.document) -> None:
    r"""Sphinx puts a formula of several lines into a `split`, in which TeX allows no \tag: leave such a formula as it is."""
    for formula in doctree.findall(nodes.math_block):
        text = formula.astext()
        if r"\tag" in text:
            formula["no-wrap"] = True
            formula.children = [nodes.Text(rf"\[{text}\]")]
