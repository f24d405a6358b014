"""Plain docstrings, in the form that Sphinx reads."""

from __future__ import annotations

import pytest

pytest.importorskip("docutils", reason='the documentation needs pip install -e ".[docs]"')

from docutils.core import publish_doctree  # noqa: E402
from generator.docstrings import to_rst  # noqa: E402

DOCSTRING = r"""Weights `A` of S*V_1 | d_; see `a_b`s and \x.

    (1)  A = softmax(S)      *each* row

         sums to 1
    (2)  Y = A V

Backward:
    d_S = A ∘ d_A

- one item
  that goes on
- another `item`
"""


def test_blocks_keep_their_layout_and_prose_has_no_markup_but_code():
    doctree = publish_doctree("\n".join(to_rst(DOCSTRING.splitlines())), settings_overrides={"report_level": 1})
    kinds = [child.tagname for child in doctree.children]
    assert kinds == ["paragraph", "literal_block", "paragraph", "literal_block", "bullet_list"]
    text = [child.astext() for child in doctree.children]
    assert text[0] == r"Weights A of S*V_1 | d_; see a_bs and \x."
    assert text[1] == "(1)  A = softmax(S)      *each* row\n\n     sums to 1\n(2)  Y = A V"
    assert text[3] == "d_S = A ∘ d_A"
    inline = [child.tagname for child in doctree.findall() if child.tagname in ("literal", "emphasis", "problematic")]
    assert inline == ["literal"] * 3


def test_nothing_stays_nothing():
    assert to_rst([]) == []
