"""The course on the command line: `python -m attnretrieval.course grade SUBMISSION … --csv marks.csv`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from attnretrieval.cli import BAD_INPUT, Parser
from attnretrieval.course.grade import Limits, find_submissions, grade, table, write_csv
from attnretrieval.inputs.files import InputError
from attnretrieval.verbs.common import seed, write_json

EXAMPLE = """examples:
  python -m attnretrieval.course grade submissions --csv marks.csv
  python -m attnretrieval.course grade submissions --lesson 2 --seed 7 --jobs 2 --csv marks.csv --json marks.json
  python -m attnretrieval.course grade li_wei.ipynb

Each submission runs in a process of its own with limits of time and memory. That is no sandbox: run the
submissions of strangers in a container."""


def _parser() -> Parser:
    parser = Parser(prog="python -m attnretrieval.course", description="The course.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    one = verbs.add_parser("grade", help="grade submissions", epilog=EXAMPLE, description="Which exercises are right?",
                           formatter_class=argparse.RawDescriptionHelpFormatter)
    one.add_argument("submissions", nargs="+", metavar="SUBMISSION", help="a notebook, a Python file, or a folder of them")
    one.add_argument("--lesson", type=int, help="grade the exercises of this lesson alone")
    one.add_argument("--csv", metavar="FILE", help="write a row a submission, a column an exercise, and what is wrong")
    one.add_argument("--json", metavar="FILE", help="write this with the diagnosis of every exercise")
    one.add_argument("--seed", type=seed, default=0, help="of the shapes and numbers: the same for all submissions")
    one.add_argument("--seconds", type=float, default=Limits.seconds, help="of one cell or exercise (%(default)s)")
    one.add_argument("--total", type=float, default=Limits.total, help="seconds of one submission (%(default)s)")
    one.add_argument("--memory", type=int, default=Limits.memory,
                     help="MB of one submission (%(default)s); as much again after a cell that has used it up")
    one.add_argument("--jobs", type=int, default=1, help="submissions graded side by side (%(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        return _grade(given)
    except (InputError, OSError) as error:
        print(f"python -m attnretrieval.course {given.verb}: {error}", file=sys.stderr)
        return BAD_INPUT


def _grade(given: argparse.Namespace) -> int:
    from attnretrieval.course.exercises import EXERCISES

    exercises = [name for name, exercise in EXERCISES.items() if given.lesson in (None, exercise.lesson)]
    if not exercises:
        lessons = sorted({exercise.lesson for exercise in EXERCISES.values()})
        raise InputError(f"there is no lesson {given.lesson}; lessons are {', '.join(map(str, lessons))}")
    if min(given.seconds, given.total, given.memory, given.jobs) <= 0:
        raise InputError("--seconds, --total, --memory and --jobs must be larger than 0")
    limits = Limits(given.seconds, given.total, given.memory)
    rows = grade(find_submissions(given.submissions), exercises, seed=given.seed, limits=limits, jobs=given.jobs)
    print(table(rows, exercises))
    if given.csv:
        write_csv(given.csv, rows, exercises)
    if given.json:
        write_json(given.json, {"seed": given.seed, "exercises": exercises, "rows": [row.to_json() for row in rows]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
