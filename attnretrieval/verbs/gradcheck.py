"""Check the hand-written gradients: every equation with every option, by complex step and central difference.

With --mutants the checks are checked: equations that are wrong on purpose, each of which they must reject.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

import numpy as np

from attnretrieval.course.cases import CASES, chosen, run_cases
from attnretrieval.verbs.common import seed, write_json

EXAMPLE = """examples:
  attnretrieval gradcheck
  attnretrieval gradcheck attention -v
  attnretrieval gradcheck --mutants"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("equation", nargs="*", help="only these; one of " + ", ".join(CASES))
    parser.add_argument("-v", "--verbose", action="store_true", help="show each input of each case")
    parser.add_argument("--mutants", action="store_true", help="run the checks on wrong equations instead, and print the score")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the result here too")


def run(arguments: Namespace) -> int:
    return (_mutants if arguments.mutants else _equations)(arguments)


def _equations(arguments: Namespace) -> int:
    started = time.perf_counter()
    reports = run_cases(arguments.equation or None, np.random.default_rng(arguments.seed))
    seconds = time.perf_counter() - started
    for report in reports:
        if arguments.verbose or not report.passed:
            print(report, end="\n\n")
        else:
            print(f"{report.name:<60} {report.worst_error:8.1e}  ok")
    passed = sum(report.passed for report in reports)
    worst = max(report.worst_error for report in reports)
    print(f"{passed} of {len(reports)} cases passed, worst error {worst:.1e}, {seconds:.1f} s")
    if arguments.json:
        result = {"passed": passed, "total": len(reports), "worst_error": worst, "seconds": round(seconds, 2)}
        write_json(arguments.json, result)
    return 0 if passed == len(reports) else 1


def _mutants(arguments: Namespace) -> int:
    from attnretrieval.course.mutants import all_mutants, report, score

    started = time.perf_counter()
    files = {case.file for case in chosen(arguments.equation).values()}
    results = score([mutant for mutant in all_mutants() if mutant.file in files], arguments.seed)
    if arguments.verbose:
        print("\n".join(f"{result.mutant}: rejected by {result.by}" for result in results if result.rejected))
    rejected, seconds = sum(result.rejected for result in results), time.perf_counter() - started
    print(report(results))
    print(f"{seconds:.1f} s")
    if arguments.json:
        write_json(arguments.json, {"rejected": rejected, "total": len(results), "seconds": round(seconds, 2)})
    return 0 if rejected == len(results) else 1
