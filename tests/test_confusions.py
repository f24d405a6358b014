"""A wrong forward is told by the formula that it computes instead: each known confusion, and what check_values says of it."""

from __future__ import annotations

import numpy as np
import pytest

from attnretrieval.course.cases import CASES
from attnretrieval.course.values import CONFUSIONS, check_values
from attnretrieval.equations.attention import attention
from attnretrieval.equations.softmax import softmax


def cases(name: str):
    return CASES[name].make(np.random.default_rng(3), np.float64).values()


@pytest.mark.parametrize("name", CONFUSIONS)
def test_a_confusion_is_a_value_of_the_right_shape_and_with_words(name):
    """Only those of the right shape can be found; each must have it in some case."""
    found: set[str] = set()
    wanted: set[str] = set()
    for inputs, options in cases(name):
        out = np.asarray(CASES[name].forward(**inputs, **options)[0])
        with np.errstate(all="ignore"):
            for code, text, value in CONFUSIONS[name](**inputs, **options):
                wanted.add(code)
                assert code and text == text.strip() and not text.endswith(".")
                if np.shape(value) == out.shape:
                    found.add(code)
    assert found == wanted


@pytest.mark.parametrize("name", CONFUSIONS)
def test_no_confusion_is_the_formula_itself_in_every_case(name):
    """One that is never different could never be the mistake."""
    differs: dict[str, bool] = {}
    for inputs, options in cases(name):
        out = np.asarray(CASES[name].forward(**inputs, **options)[0])
        with np.errstate(all="ignore"):
            for _, text, value in CONFUSIONS[name](**inputs, **options):
                if np.shape(value) == out.shape:
                    differs[text] = differs.get(text, False) or not np.allclose(value, out, atol=1e-12)
    assert all(differs.values()), [text for text, yes in differs.items() if not yes]


@pytest.mark.parametrize("name, forward, words", [
    ("softmax", lambda S, mask=None: (softmax(S.swapaxes(-1, -2)).swapaxes(-1, -2) if S.ndim > 1 else softmax(S, mask), None),
     "a softmax along axis"),
    ("attention", lambda Q, K, V, key_mask=None: attention(Q * np.sqrt(Q.shape[-1]), K, V, key_mask), "is a 1/√4 missing?"),
    ("attention", lambda Q, K, V, key_mask=None: attention(Q, K, V), "is key_mask forgotten?"),
    ("layer_norm", lambda X, gain, bias, eps=1e-5: ((X - X.mean(-1, keepdims=True)) / X.std(-1, keepdims=True, ddof=1) * gain
                                                    + bias, None), ""),
    ("linear", lambda X, W, b=None: (X @ W, None), "is b left out?"),
    ("info_nce", lambda S, log_temperature, positives, temperature_range=(0.01, 1.0):
        (2 * CASES["info_nce"].forward(S, log_temperature, positives, temperature_range)[0], None), "sum of both directions"),
    ("triplet_loss", lambda S, positives, margin=0.2, violations="sum":
        CASES["triplet_loss"].forward(S, positives, 0.0, violations), "a margin of 0"),
])
def test_what_is_said_of_a_wrong_forward(name, forward, words):
    said = [str(value) for value in check_values(name, forward, np.random.default_rng(0)) if not value.passed]
    assert said and any(words in text for text in said), "\n".join(said)


def test_a_right_forward_is_not_compared_with_confusions():
    assert all(value.passed and not value.diagnosis for name in CONFUSIONS for value in check_values(name))
