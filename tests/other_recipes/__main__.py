"""Run the gradient checks of other people and ours over the wrong equations and print the comparison as Markdown.

    python -m tests.other_recipes [--seed N] [--json FILE]

docs/gradient_check.md shows the tables of seed 0, kept in measured.json; after a change to the corpus or to a recipe:

    python -m tests.other_recipes --json tests/other_recipes/measured.json

The counts depend on the seed alone, the seconds on the machine.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from tests.other_recipes import RECIPES
from tests.other_recipes.score import OURS, run, with_values
from tests.other_recipes.table import to_json, what_gets_through, who_rejects_what


def main() -> None:
    parser = ArgumentParser(prog="python -m tests.other_recipes", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the counts here too")
    arguments = parser.parse_args()
    scores = []
    for name in (*RECIPES, OURS):
        scores.append(run(name, arguments.seed))
        print(f"{name}: {scores[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    scores.append(with_values(scores[-1], arguments.seed))
    print(who_rejects_what(scores), what_gets_through(scores), sep="\n\n")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            file.write(to_json(scores, arguments.seed))


if __name__ == "__main__":
    main()
