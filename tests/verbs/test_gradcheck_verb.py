"""gradcheck: the table, and a file of one's own in the place of the package's equations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from attnretrieval.course.mine import open_mine
from attnretrieval.course.printed import FirstLines

FORWARD = '''
import numpy as np
from attnretrieval.equations.softmax import softmax, softmax_backward

def attention(Q, K, V, key_mask=None):
    """中文注释"""
    S = Q @ K.swapaxes(-1, -2) / np.sqrt(Q.shape[-1]).astype(Q.real.dtype)
    A = softmax(S, None if key_mask is None else key_mask[..., None, :])
    return A @ V, (Q, K, V, A)
'''
BACKWARD = '''
import numpy as np
from attnretrieval.equations.axes import sum_to
from attnretrieval.equations.softmax import softmax_backward

def attention_backward(d_Y, cache):
    Q, K, V, A = cache
    d_S = softmax_backward(d_Y @ V.swapaxes(-1, -2), A) / np.sqrt(Q.shape[-1]).astype(Q.real.dtype)
    d_Q = sum_to(d_S @ K, Q.shape)
    d_K = sum_to(d_S.swapaxes(-1, -2) @ Q, K.shape)
    return d_Q, d_K, sum_to(A.swapaxes(-1, -2) @ d_Y, V.shape)
'''
SCALE = " / np.sqrt(Q.shape[-1]).astype(Q.real.dtype)"


@pytest.fixture
def mine(say, tmp_path):
    """Runs `gradcheck ... --mine my.py:FUNCTION` on this source."""
    def run(source: str, function: str = ":attention_backward", before: str = "", after: str = ""):
        (tmp_path / "my.py").write_text(source, encoding="utf-8")
        return say(f"gradcheck {before} --mine my.py{function} {after}")
    return run


def rows(out: str) -> dict[str, list[str]]:
    """equation → the words of its row."""
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("equation"))
    return {line.split()[0]: line.split() for line in lines[start + 1:] if line.endswith(("ok", "WRONG")) and line[0] != " "}


# --- the table -----------------------------------------------------------------------------------------------------------


def test_one_row_an_equation(do):
    said = do("gradcheck linear positions")
    assert list(rows(said)) == ["linear", "position_code"]
    assert rows(said)["linear"][1:5] == ["3", "X", "W", "b"] and rows(said)["linear"][-1] == "ok"
    assert all(len(line) <= 80 for line in said.splitlines())
    assert said.splitlines()[-1].startswith("5 of 5 cases passed, worst error ")


def test_long_lists_of_inputs_are_cut(do):
    said = do("gradcheck multi_head")
    assert "X W_Q b_Q W_K b_K …" in said and all(len(line) <= 80 for line in said.splitlines())


def test_verbose_shows_every_case(do):
    said = do("gradcheck linear -v")
    assert said.count(": passed (tolerance") == 3 and "linear, no bias: passed" in said


@pytest.mark.parametrize("terminal, no_color, coloured", [
    (True, None, True), (True, "", True), (True, "1", False), (False, None, False)])
def test_colour_on_a_terminal_alone(do, monkeypatch, terminal, no_color, coloured):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b[32mok\x1b[0m" in do("gradcheck linear")) == coloured


def test_a_close_name_is_suggested(say):
    said = say("gradcheck atention")
    assert said.code == 2 and said.errors[0].endswith("did you mean 'attention'?")


# --- one's own functions -----------------------------------------------------------------------------------------------------


def test_a_right_backward_alone(mine):
    said = mine(BACKWARD)
    assert (said.code, said.errors) == (0, [])
    assert said.out.startswith("my.py: the gradient of attention_backward, which is given the cache of our forward, Attention")
    assert rows(said.out)["attention"][1] == "9"


def test_a_right_pair(mine):
    said = mine(FORWARD + BACKWARD)
    assert said.code == 0 and said.out.startswith("my.py: the values of attention, the gradient of attention_backward\n")
    assert int(rows(said.out)["attention"][1]) > 9
    assert rows(mine(FORWARD + BACKWARD, ":attention").out)["attention"][:2] == rows(said.out)["attention"][:2]


def test_a_wrong_backward_is_diagnosed(mine):
    said = mine(BACKWARD.replace(SCALE, ""), after="--json found.json")
    assert said.code == 1 and said.errors == [] and rows(said.out)["attention"][-1] == "WRONG"
    assert "d_Q is 2 times the right value everywhere: is the 1/√4 missing" in said.out
    assert "also wrong: attention, batch and 4 more: Q scaled, K scaled\n" in said.out
    assert said.out.splitlines()[-1].startswith("3 of 9 cases passed, worst error 5.0e-01")
    found = json.loads(Path("found.json").read_text("utf-8"))
    assert (found["passed"], found["total"], found["worst_error"]) == (3, 9, pytest.approx(0.5))
    assert found["failed"]["attention, batch"]["diagnosis"] == {"Q": "scaled", "K": "scaled"} and found["seconds"] > 0


def test_verbose_shows_every_failure(mine):
    said = mine(BACKWARD.replace(SCALE, ""), after="-v")
    assert said.out.count("d_Q is 2 times the right value everywhere") == 6


def test_the_same_mistake_in_both_passes(mine):
    said = mine((FORWARD + BACKWARD).replace(SCALE, " / Q.shape[-1]"))
    assert said.code == 1 and "value of attention, one sequence: the largest difference at" in said.out
    assert "also wrong: value of attention" in said.out and "also wrong: attention" not in said.out


def test_a_forward_alone(mine):
    said = mine(FORWARD, ":attention")
    assert said.code == 0 and said.out.startswith("my.py: the values of attention; there is no attention_backward\n")


def test_a_forward_that_returns_its_output_alone(mine):
    """As softmax does in the package; its backward is given our cache, A."""
    source = ("import numpy as np\ndef softmax(S, mask=None):\n    E = np.exp(S - S.max(-1, keepdims=True))\n"
              "    return E / E.sum(-1, keepdims=True)\n"
              "def softmax_backward(d_A, A):\n    return A * (d_A - (d_A * A).sum(-1, keepdims=True))\n")
    said = mine(source, ":softmax_backward")
    assert "which is given the cache of our forward, (5,)" in said.out
    assert said.code == 1 and "value of softmax, masked" in said.out       # it ignores the mask; the backward is right
    assert "also wrong: softmax" not in said.out


def test_other_names(mine, say):
    renamed = (FORWARD + BACKWARD).replace("def attention", "def my_attention")
    assert int(rows(mine(renamed, ":my_attention_backward", "attention").out)["attention"][1]) > 9
    assert mine(BACKWARD.replace("def attention_backward", "def undo"), ":undo", "attention").code == 0
    assert rows(say("gradcheck attention --mine my.py:undo").out)["attention"][1] == "9"


def test_a_forward_may_lack_what_only_some_cases_pass(mine):
    said = mine("def linear(X, W, b):\n    return X @ W + b\n", ":linear")
    assert said.code == 1 and "value of linear, no bias" in said.out
    assert "the forward raised TypeError in my.py line 2, `return X @ W + b`:" in said.out and "b None" in said.out
    said = mine("def softmax(S):\n    return S\n", ":softmax", after="-v")
    assert "softmax() got an unexpected keyword argument 'mask'; it was given S (" in said.out


def test_equations_choose_from_a_file(mine):
    source = FORWARD + BACKWARD + "\ndef linear_backward(d_Y, cache):\n    return {'d_X': d_Y @ cache.W.T}\n"
    said = mine(source, "", "attention linear")
    assert {name: row[-1] for name, row in rows(said.out).items()} == {"linear": "WRONG", "attention": "ok"}


def test_what_it_imports_from_the_package_is_not_its_own(mine):
    said = mine("from attnretrieval.equations.attention import attention\n" + BACKWARD)
    assert "which is given the cache of our forward" in said.out


def test_a_backward_that_raises(mine):
    said = mine(BACKWARD.replace("d_S @ K", "d_S @ V"))
    assert said.code == 1 and said.errors == []
    assert "the backward raised ValueError in my.py line 9, `d_Q = sum_to(d_S @ V, Q.shape)`:" in said.out
    assert "worst error" in said.out.splitlines()[-1]


def test_nothing_can_be_computed(mine):
    said = mine("def attention_backward(d_Y, cache):\n    pass\n", after="--json found.json")
    assert "the backward returned None, expected d_Q, d_K, d_V" in said.out
    assert "also wrong: attention, batch and 7 more: no answer" in said.out
    assert said.out.splitlines()[-1].startswith("0 of 9 cases passed, worst error -")
    assert json.loads(Path("found.json").read_text("utf-8"))["worst_error"] is None


def test_a_forward_that_is_not_complex_safe_is_noted(mine):
    said = mine("import numpy as np\n"
                "def l2_normalise(X):\n    r = np.linalg.norm(X, axis=-1, keepdims=True) + X.dtype.type(1e-12)\n"
                "    return X / r, (X / r, r)\n"
                "def l2_normalise_backward(d, cache):\n    N, r = cache\n"
                "    return (d - N * (d * N).sum(-1, keepdims=True)) / r\n", ":l2_normalise_backward")
    assert "note: l2_normalise, one vector: the forward is not complex-safe" in said.out


def test_what_the_file_prints_is_cut(mine):
    said = mine(BACKWARD.replace("    Q, K", '    print("形状", d_Y.shape)\n    Q, K'))
    assert said.code == 0 and said.out.count("形状") == FirstLines.LIMIT
    assert "more lines that were printed" in said.out.splitlines()[-2]


def test_a_file_elsewhere_that_needs_its_neighbours(say, tmp_path):
    folder = tmp_path / "作业"
    folder.mkdir()
    (folder / "helpers_of_mine.py").write_text("def identity(x):\n    return x\n", encoding="utf-8")
    (folder / "我的.py").write_text("from helpers_of_mine import identity\n" + BACKWARD, encoding="utf-8")
    path = list(sys.path)
    assert say("gradcheck --mine 作业/我的.py:attention_backward").code == 0
    assert sys.path == path and not list(folder.rglob("我的*.pyc"))


def test_the_seed_draws_other_inputs(mine, say):
    wrong = BACKWARD.replace(SCALE, "")
    said = [mine(wrong, after=f"--seed {seed}").out.split("expected ")[1].split()[0] for seed in (0, 0, 1)]
    assert said[0] == said[1] != said[2]


def test_from_python(tmp_path):
    (tmp_path / "my.py").write_text(BACKWARD, encoding="utf-8")
    (found,) = open_mine(f"{tmp_path / 'my.py'}:attention_backward")
    assert found.values(np.random.default_rng(0)) == []
    assert all(report.passed for report in found.gradients(np.random.default_rng(0)))


# --- wrong use: exit code 2 and one line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source, function, before, parts", [
    ("def f(:\n", ":f", "", ["my.py line 1: SyntaxError, `def f(:`: "]),
    ("def f():\n    return （1)\n", ":f", "", ["my.py line 2: SyntaxError", "invalid character '（' (U+FF08)"]),
    ("def f():\nreturn 1\n", ":f", "", ["my.py line 2: IndentationError"]),
    ("import nowhere\n", ":f", "", ["my.py cannot be loaded: ModuleNotFoundError in my.py line 1, `import nowhere`: No"]),
    ("x = {}['a']\n", ":f", "", ["KeyError in my.py line 1, `x = {}['a']`: 'a'"]),
    ("import sys\nsys.exit()\n", ":f", "", ["my.py ends the program when it is loaded, in my.py line 2", "__main__"]),
    (BACKWARD, ":atention_backward", "", ["my.py defines no function atention_backward; it defines attention_backward; did you "
                                          "mean 'attention_backward'?"]),
    ("attention = 3\n", ":attention", "", ["my.py defines no function attention; it defines no function"]),
    (BACKWARD, "", "", ["which function of my.py?", "one of attention_backward"]),
    (BACKWARD, "", "softmax", ["my.py defines neither softmax_backward nor softmax; it defines attention_backward"]),
    (BACKWARD, ":attention_backward", "sofmax", ["'sofmax' is not one of", "did you mean 'softmax'?"]),
    ("def undo(d_Y, cache):\n    pass\n", ":undo", "", ["undo does not say which equation it is; name the equation before"]),
    ("def sofmax_backward(d, A):\n    pass\n", ":sofmax_backward", "", ["did you mean 'softmax_backward'?"]),
    ("def pool(F):\n    pass\n", ":pool", "pooling", ["one of pool_mean, pool_max, pool_weights, pool_attention"]),
    ("\ndef attention(q, k, v, mask=None):\n    pass\n", ":attention", "",
     ["my.py line 2: attention(q, k, v, mask=None) cannot be called as attention(Q, K, V, key_mask=None)", "by these names"]),
    ("def attention_backward(d_Y):\n    pass\n", ":attention_backward", "",
     ["attention_backward(d_Y) cannot be called as attention_backward(d_out, cache): too many positional arguments"]),
    (BACKWARD, ":attention_backward", "--mutants", ["--mine: not allowed with argument --mutants"]),
])
def test_wrong_use_is_explained(mine, source, function, before, parts):
    said = mine(source, function, before)
    assert said.code == 2 and said.out == "" and len(said.errors) == 1
    for part in parts:
        assert part in said.errors[0]


@pytest.mark.parametrize("where, part", [
    ("none.py:f", "the file of --mine none.py does not exist"),
    ("my:f", "my is not named as a Python file; --mine takes FILE.py:FUNCTION"),
    ("C:\\\\my.txt", "my.txt is not named as a Python file"),
    (".py:f", ".py is not named"),
])
def test_no_such_file(say, where, part):
    said = say(f"gradcheck --mine {where}")
    assert said.code == 2 and part in said.errors[0]


def test_a_file_in_another_encoding(say, tmp_path):
    (tmp_path / "my.py").write_bytes("# 注释\n".encode("gbk"))
    assert "my.py is not in UTF-8; save it so" in say("gradcheck --mine my.py:f").errors[0]
    (tmp_path / "my.py").write_bytes(f"# -*- coding: gbk -*-\n# 注释{BACKWARD}".encode("gbk"))
    assert say("gradcheck --mine my.py:attention_backward").code == 0
