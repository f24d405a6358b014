"""What is changed in a page after Sphinx has read it."""

from __future__ import annotations

import re

from docutils import nodes

CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def let_tags_stand(app, doctree: nodes.document) -> None:
    r"""Sphinx puts a formula of several lines into a `split`, in which TeX allows no \tag: leave such a formula as it is."""
    for formula in doctree.findall(nodes.math_block):
        text = formula.astext()
        if r"\tag" in text:
            formula["no-wrap"] = True
            formula.children = [nodes.Text(rf"\[{text}\]")]


def join_chinese_lines(app, doctree: nodes.document) -> None:
    """A line break of a source, which is a node of its own, would be shown as a space: Chinese has none."""
    for line_break in [text for text in doctree.findall(nodes.Text) if text == "\n"]:
        line, at = line_break.parent.children, line_break.parent.index(line_break)
        before, after = ("".join(node.astext() for node in side) for side in (line[:at], line[at + 1:]))
        if CHINESE.match(before[-1:]) and CHINESE.match(after[:1]):
            line_break.parent.remove(line_break)
