"""Change one small thing in the code at a time: does any check notice?

    python -m tests.mutation                    every equation, ten minutes, and model.py, twelve, on a busy machine
    python -m tests.mutation attention model    only these

The corpus in attnretrieval/course/mutants holds mistakes that people make. Here a program makes them: `+` for `-`, `*` for `/`,
`<` for `<=`, axis -1 for -2, True for False, a sum for a mean, a transpose or a sign left out, a statement dropped, a condition
that always or never holds. What is left after the gradient check, the comparison of values and the tests of the file is a
survivor: either a gap in the checks or a change that changes nothing. Those of the second kind stand with their reason in
mutation_equivalent.txt; the others are printed, and the exit code is 1.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attnretrieval.course.cases import CASES
from attnretrieval.course.mutants import cases_of, first_wrong_gradient, first_wrong_value

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "attnretrieval"
TESTS = {"model": ["tests/test_model_gradients.py", "tests/test_model.py"]}      # elsewhere test_<file>.py and EVERY
EVERY = ("tests/equations/test_every_case.py", "tests/test_backend.py::test_every_equation_refuses_a_mix")

SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And,
}
NAMES = {"sum": "mean", "mean": "sum", "max": "min", "argmax": "argmin", "any": "all", "zeros": "ones", "minimum": "maximum",
         "maximum": "minimum", "zeros_like": "ones_like", "ones": "zeros", "split_heads": "join_heads"}
LEFT_OUT = {"swap", "sum_to", "copy", "swapaxes"}   # calls that are replaced by what they are applied to


class Change(NamedTuple):
    line: int
    text: str                   # "before  →  after", the statement that changes
    source: str                 # the whole file with the change


def changes(source: str) -> Iterator[Change]:
    """Every change of one place, in the order of the source. Annotations, imports and docstrings stay."""
    tree = ast.parse(source)
    for statement in _statements(tree):
        before = _first_line(statement)
        for node in _inside(statement):
            for undo in _edits(node):
                after = _first_line(statement)
                yield Change(statement.lineno, f"{before}  →  {after}", ast.unparse(tree))
                undo()
    for body in _bodies(tree):
        for i, statement in enumerate(body):
            call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if call or isinstance(statement, ast.AugAssign):
                body[i] = ast.Pass()
                yield Change(statement.lineno, f"{_first_line(statement)}  →  (dropped)", ast.unparse(tree))
                body[i] = statement


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return, ast.If, ast.For)):
            yield node
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            if isinstance(getattr(node, name, None), list):
                yield getattr(node, name)


def _inside(statement: ast.stmt) -> Iterator[ast.AST]:
    """The statement and its expressions, without the statements below it and without the words of a message."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for child in ast.iter_child_nodes(node)
                    if not isinstance(child, (ast.stmt, ast.JoinedStr)) and not _is_free_axis(node, child)]


def _is_free_axis(node: ast.AST, child: ast.AST) -> bool:
    """The -1 of reshape(-1, d): NumPy takes every negative number for it."""
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "reshape" and isinstance(child, ast.UnaryOp)


def _first_line(statement: ast.stmt) -> str:
    return ast.unparse(statement).partition("\n")[0]


def _edits(node: ast.AST) -> Iterator:
    """Makes each change to this node in turn and gives the function that takes it back."""
    def put(owner: ast.AST, field: str, value: object):
        old = getattr(owner, field)
        setattr(owner, field, value)
        return lambda: setattr(owner, field, old)

    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        yield put(node, "op", SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield put(node, "ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield put(node, "value", not node.value)
        elif isinstance(node.value, int):
            yield put(node, "value", node.value + 1)
        elif isinstance(node.value, float):
            yield put(node, "value", 2 * node.value or 1.0)
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield put(node, "attr", NAMES[node.attr])
    if isinstance(node, ast.If):
        yield put(node, "test", ast.Constant(True))
        yield put(node, "test", ast.Constant(False))
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.expr):
            for simpler in _simpler(value):
                yield put(node, field, simpler)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                for simpler in _simpler(item):
                    yield put(node, field, [*value[:i], simpler, *value[i + 1:]])


def _simpler(node: object) -> list[ast.expr]:
    """What may stand in the place of this expression: the expression without its sign, its transpose, one of its branches."""
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.Attribute) and node.attr in ("T", "real"):
        return [node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LEFT_OUT:
        return [node.args[0]]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEFT_OUT:
        return [node.func.value]
    return []


# --- who notices ------------------------------------------------------------------------------------------------------


def noticed_by(file: str, change: Change) -> str:
    """"gradient", "values", "raises" or "tests": the first that notices the change; "" if nothing does."""
    if file != "model":
        try:
            with np.errstate(all="ignore"):
                cases = cases_of(file, change.source)
                if first_wrong_gradient(cases, np.random.default_rng(0))[0]:
                    return "gradient"
                if first_wrong_value(cases, np.random.default_rng(0))[0]:
                    return "values"
        except Exception:  # whatever a changed equation raises is a way to notice it
            return "raises"
    return "" if tests_pass(file, change.source) else "tests"


LOADER = """
import importlib, importlib.util, sys
import pytest
name, path, *arguments = sys.argv[1:]
importlib.import_module(name.rpartition(".")[0])
spec = importlib.util.spec_from_file_location(name, path)
sys.modules[name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])

class QuickFirst:           # the tests of gradients take longest
    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: "gradient" in item.name)

sys.exit(pytest.main(arguments, plugins=[QuickFirst()]))
"""


def tests_pass(file: str, source: str) -> bool:
    """The tests of the file, in a Python of its own in which `source` stands for it."""
    name = "attnretrieval.model" if file == "model" else f"attnretrieval.equations.{file}"
    tests = TESTS.get(file, [f"tests/equations/test_{file}.py", *EVERY])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "changed.py")
        path.write_text(source, "utf-8")
        command = [sys.executable, "-W", "ignore", "-c", LOADER, name, str(path), "-x", "-q", "-p", "no:cacheprovider", *tests]
        return subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0


# --- the run ----------------------------------------------------------------------------------------------------------


def equivalent() -> dict[tuple[str, str], str]:
    """(file, change) → why it changes nothing, from mutation_equivalent.txt."""
    reasons, reason = {}, ""
    for line in Path(__file__).with_name("mutation_equivalent.txt").read_text("utf-8").splitlines():
        if line.startswith("    "):
            file, _, text = line.strip().partition(": ")
            reasons[file, text] = reason
        elif line.strip():
            reason = line.strip()
    return reasons


def main(names: list[str]) -> int:
    started, unexplained, known = time.perf_counter(), 0, equivalent()
    files = [*dict.fromkeys(c.file for c in CASES.values()), "axes", "model"]
    for file in names or files:
        if file not in files:
            raise SystemExit(f"{file!r} is not one of {', '.join(files)}")
        path = PACKAGE / "model.py" if file == "model" else PACKAGE / "equations" / f"{file}.py"
        count = Counter()
        for change in changes(path.read_text("utf-8")):
            by = noticed_by(file, change)
            if not by:
                by = "equivalent" if (file, change.text) in known else "survive"
            count[by] += 1
            if by == "survive":
                print(f"    {file}: {change.text}        (line {change.line})", flush=True)
        print(f"{file}: {count.total()} changes, " + ", ".join(f"{n} {by}" for by, n in count.most_common()), flush=True)
        unexplained += count["survive"]
    print(f"{unexplained} survivors without a reason, {time.perf_counter() - started:.0f} s")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
