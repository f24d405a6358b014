"""What is changed in a page after Sphinx has read it."""

from __future__ import annotations

import re

from docutils import nodes

CLOSES, OPENS = re.compile(r"[,.;:?!)\]”，。、；：？！）」]+"), re.compile(r"[(\[“（「]+$")
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


def keep_marks_with_formulas(app, doctree: nodes.document) -> None:
    """A browser may break a line beside a formula, whatever stands there: keep its comma and its bracket on its line."""
    for formula in list(doctree.findall(nodes.math)):
        line, at = formula.parent, formula.parent.index(formula)
        before, after = (line[i] if 0 <= i < len(line) and isinstance(line[i], nodes.Text) else "" for i in (at - 1, at + 1))
        opens, closes = OPENS.search(before), CLOSES.match(after)
        if opens or closes:
            head, tail = (opens[0] if opens else ""), (closes[0] if closes else "")
            kept = nodes.inline("", "", nodes.Text(head), formula.deepcopy(), nodes.Text(tail), classes=["kept"])
            around = [nodes.Text(before[:len(before) - len(head)])] if before else []
            around += [kept, *([nodes.Text(after[len(tail):])] if after else [])]
            line[at - bool(before):at + 1 + bool(after)] = around
