"""Check the hand-written gradients: every equation with every option, by complex step and central difference.

With --mine your own functions take the place of ours: NAME_backward, and NAME where your file has it too. A backward alone is
given the cache of our forward; a forward of yours is compared with the formula as well.

With --mutants the checks are checked: equations that are wrong on purpose, each of which they must reject.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable

import numpy as np

from attnretrieval.course.cases import CASES, chosen, inputs_of, run_case
from attnretrieval.course.mine import open_mine
from attnretrieval.course.printed import FirstLines
from attnretrieval.verbs.common import seed, write_json
from attnretrieval.verbs.gradcheck_table import (
    Found,
    failed,
    failures,
    heading,
    numbers,
    of_report,
    of_value,
    row,
    totals,
)

EXAMPLE = """examples:
  attnretrieval gradcheck
  attnretrieval gradcheck attention -v
  attnretrieval gradcheck --mine my.py:attention_backward
  attnretrieval gradcheck attention --mine my.py:my_backward
  attnretrieval gradcheck --mutants"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("equation", nargs="*", help="only these; one of " + ", ".join(CASES))
    parser.add_argument("-v", "--verbose", action="store_true", help="show each input of each case")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--mine", metavar="FILE.py:FUNCTION", help="check your own functions in the place of ours")
    instead.add_argument("--mutants", action="store_true", help="run the checks on wrong equations, and print the score")
    parser.add_argument("--seed", type=seed, default=0, help="of the random inputs")
    parser.add_argument("--json", metavar="FILE", help="write the result here too")


def run(arguments: Namespace) -> int:
    if arguments.mutants:
        return _mutants(arguments)
    return (_mine if arguments.mine else _ours)(arguments)


def _ours(arguments: Namespace) -> int:
    rng = np.random.default_rng(arguments.seed)
    return _tell(arguments, *_table(chosen(arguments.equation), lambda name: map(of_report, run_case(name, rng))))


def _mine(arguments: Namespace) -> int:
    rng = np.random.default_rng(arguments.seed)
    output = FirstLines()
    with output.instead():
        mines = {mine.equation: mine for mine in open_mine(arguments.mine, arguments.equation)}
    for mine in mines.values():
        print(mine)

    def check(name: str) -> list[Found]:
        with output.instead():
            values, reports = mines[name].values(rng), mines[name].gradients(rng)
        return [*map(of_value, values), *map(of_report, reports)]

    found, seconds = _table(mines, check)
    print(output.rest(), end="")
    return _tell(arguments, found, seconds)


def _table(names: Iterable[str], check: Callable[[str], Iterable[Found]]) -> tuple[list[Found], float]:
    """Checks one equation after the other and prints its row; all cases, and the seconds it took."""
    started, found = time.perf_counter(), []
    print(heading())
    for name in names:
        at = time.perf_counter()
        cases = list(check(name))
        print(row(name, inputs_of(name), cases, time.perf_counter() - at), flush=True)
        found += cases
    return found, time.perf_counter() - started


def _tell(arguments: Namespace, found: list[Found], seconds: float) -> int:
    """What is wrong, and the totals; the exit code."""
    result = numbers(found, seconds)
    print(failures(found, arguments.verbose) + totals(result))
    if arguments.json:
        write_json(arguments.json, result | ({"failed": failed(found)} if arguments.mine else {}))
    return 0 if result["passed"] == result["total"] else 1


def _mutants(arguments: Namespace) -> int:
    from attnretrieval.course.mutants import all_mutants, report, score

    started = time.perf_counter()
    files = {case.file for case in chosen(arguments.equation).values()}
    results = score([mutant for mutant in all_mutants() if mutant.file in files], arguments.seed)
    if arguments.verbose:
        print("\n".join(f"{result.mutant}: rejected by {result.by}, diagnosis: {result.diagnosis or 'none'}"
                        + ("" if result.named else " (does not name it)") for result in results if result.rejected))
    rejected, named = (sum(yes) for yes in zip(*((result.rejected, result.named) for result in results), strict=True))
    seconds = time.perf_counter() - started
    print(report(results))
    print(f"{seconds:.1f} s")
    if arguments.json:
        write_json(arguments.json, {"rejected": rejected, "total": len(results), "named": named, "seconds": round(seconds, 2)})
    return 0 if rejected == len(results) else 1
