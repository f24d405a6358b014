"""`python -m tests.benchmarks`: measure, and print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from tests.benchmarks import cnn, curves, memory, rerank, scatter, search, startup, steps
from tests.benchmarks.contest import UNSET
from tests.benchmarks.goals import MEMORY_MIB
from tests.benchmarks.table import Printer, Row, write_json

EXAMPLE = """examples:
  python -m tests.benchmarks                              everything, one thread, CPU time
  python -m tests.benchmarks --only gate-large            names that hold "gate-large"
  python -m tests.benchmarks --only alone --threads 2     wall time with two threads
  python -m tests.benchmarks --only demo                  the demo, which runs only when named
  python -m tests.benchmarks curves --out curves.png      how time and memory grow: a picture
"""


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["curves"]:
        return curves.main(arguments[1:])
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME", action="append", help="benchmarks whose name holds NAME; may be repeated")
    parser.add_argument("--threads", type=int, choices=(1, 2), default=1, help="1: CPU time; 2: wall time [%(default)s]")
    parser.add_argument("--json", metavar="FILE", help="write the rows there as well")
    parser.add_argument("--eager", action="store_true", help="without torch.compile and JAX, which take minutes to start")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and --eager")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args(arguments)
    chosen = {name: measure for name, measure in benchmarks(options).items()
              if not options.only or any(part in name for part in options.only)}
    if not chosen:
        parser.error(f"no benchmark has {' or '.join(options.only)} in its name; --list prints the names")
    if options.list:
        print("\n".join(chosen))
        return 0
    table = Printer()
    table.head(header(options.threads))
    for measure in chosen.values():
        table.add(list(measure()))
    table.foot()
    if options.json:
        write_json(options.json, table.rows)
    return 0


def benchmarks(options: argparse.Namespace) -> dict[str, Callable[[], Iterator[Row]]]:
    """Every benchmark by name. With two threads, those that frameworks use two for."""
    effort = {"rounds": 3, "seconds": 0.1} if options.quick else {"rounds": 7, "seconds": 0.3}
    threads = options.threads
    eager = options.eager or options.quick
    found = {case.name: partial(steps.measure, case, threads=threads, eager=eager, **effort) for case in steps.cases()}
    found["cnn"] = partial(cnn.measure, threads=threads, **effort)
    if threads > 1:
        return found
    found |= {f"memory-gate-large-{N}": partial(memory.measure, N) for N in MEMORY_MIB}
    found |= {f"search-{items // 1000}k-{queries}": partial(search.measure, items, queries, **effort)
              for items, queries in search.CASES}
    found |= {"rerank": partial(rerank.measure, **effort), "scatter": partial(scatter.measure, **effort),
              "import": partial(startup.measure_imports, effort["rounds"])}
    if options.only and any("demo".startswith(part) for part in options.only):       # a minute or more: only when named
        found["demo"] = startup.measure_demo
    return found


def header(threads: int) -> list[str]:
    packages = ", ".join(f"{name} {found}" for name in ("numpy", "scipy", "torch", "jax") if (found := installed(name)))
    what = "CPU time with one thread" if threads == 1 else f"wall time with {threads} threads"
    return [f"{what}; medians; ratio = ours / reference",
            f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}",
            f"{' and '.join(UNSET)} are unset in every worker; \"kept\" = malloc keeps large allocations"]


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """As /proc/cpuinfo names it, where there is one."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
