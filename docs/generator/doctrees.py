"""What is changed in a page after Sphinx has read it."""

from __future__ import annotations

import re

from docutils import nodes

CHINESE = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
BREAK = re.compile(rf"(?<={CHINESE})\n(?={CHINESE})")


def let_tags_stand(app, doctree: nodes.document) -> None:
    r"""Sphinx puts a formula of several lines into a `split`, in which TeX allows no \tag: leave such a formula as it is."""
    for formula in doctree.findall(nodes.math_block):
        text = formula.astext()
        if r"\tag" in text:
            formula["no-wrap"] = True
            formula.children = [nodes.Text(rf"\[{text}\]")]


def join_chinese_lines(app, doctree: nodes.document) -> None:
    """A line break in a source would be shown as a space, which Chinese has not."""
    for text in list(doctree.findall(nodes.Text)):
        if BREAK.search(text) and not isinstance(text.parent, nodes.literal_block):
            text.parent.replace(text, nodes.Text(BREAK.sub("", text)))
