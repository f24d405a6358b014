"""What a lesson shows is what the package runs."""

from __future__ import annotations

import inspect

import pytest

from attnretrieval.course.one_layer import OneLayer
from attnretrieval.course.show import formula, show
from attnretrieval.equations import attention as file
from attnretrieval.equations.attention import attention, attention_backward


def test_the_source_with_its_file(capsys):
    show(attention, attention_backward)
    printed = capsys.readouterr().out
    assert printed.count("# attnretrieval/equations/attention.py") == 1
    assert inspect.getsource(attention) in printed and inspect.getsource(attention_backward).rstrip() in printed


def test_methods_and_files_one_after_another(capsys):
    show(attention, OneLayer.forward)
    printed = capsys.readouterr().out
    assert printed.index("equations/attention.py") < printed.index("course/one_layer.py") < printed.index("def forward")


@pytest.mark.parametrize("of", [attention, file])
def test_the_formulas_of_a_file(capsys, of):
    formula(of)
    assert "(1)  S = Q Kᵀ / √d_k" in capsys.readouterr().out


@pytest.mark.parametrize("other", [len, inspect.getsource, 3])
def test_what_is_not_of_the_package_is_refused(other):
    with pytest.raises(ValueError, match="no function of the package"):
        show(other)
