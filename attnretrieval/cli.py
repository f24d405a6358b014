"""The command line: `attnretrieval <verb>`.

Every verb takes its data by path and is a file in verbs/. What a user did wrong ends in one line on stderr and exit code 2; a
check that failed in exit code 1; --trace shows where an error came from.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from importlib import import_module
from typing import NoReturn

from attnretrieval.threads import one_thread_by_default

VERBS = {
    "demo": "train, search and explain on pictures that it makes itself: nothing to download",
    "features": "turn a folder of images into region features",
    "train": "train a model by a recipe",
    "evaluate": "recall in both directions, and where the attention points",
    "index": "encode images and captions into a gallery",
    "search": "find images by text, or texts by image, in a gallery",
    "explain": "draw which region each word looks at",
    "gradcheck": "check the hand-written gradients",
}
SMALL = {"demo"}                # verbs whose matrix products are small
TRACE = "show the whole traceback of an error"
BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for all other wrong input, without the usage."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser(verbs: list[str]) -> argparse.ArgumentParser:
    """The parser with these verbs' arguments; each verb's module is imported only when it is asked for."""
    parser = Parser(
        prog="attnretrieval", description="Find images by text and texts by image, with self-attention written by hand.",
        epilog='start here:  attnretrieval demo      then:  attnretrieval train --help')
    parser.add_argument("--trace", action="store_true", help=TRACE)
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, summary in VERBS.items():
        if verb not in verbs:
            subparsers.add_parser(verb, help=summary)
            continue
        module = import_module(f"attnretrieval.verbs.{verb}")
        subparser = subparsers.add_parser(verb, help=summary, description=module.__doc__, epilog=module.EXAMPLE,
                                          formatter_class=argparse.RawDescriptionHelpFormatter)
        # after the verb too; SUPPRESS keeps what was said before it
        subparser.add_argument("--trace", action="store_true", default=argparse.SUPPRESS, help=TRACE)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    asked = [word for word in argv if word in VERBS][:1]
    own_threads = any(word.partition("=")[0] == "--threads" for word in argv)
    if own_threads or SMALL.intersection(asked):    # before the verb imports NumPy
        one_thread_by_default()
    arguments = make_parser(asked).parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say
            return arguments.run(arguments)
    except KeyboardInterrupt:
        print("attnretrieval: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:         # the reader of our output, `head` say, has left
        sys.stderr.close()
        return 0
    except (ValueError, OSError, RuntimeError, TypeError) as error:
        if arguments.trace:
            raise
        print(f"attnretrieval {arguments.verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT


def _say(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one line, without the place in the code that it came from."""
    print(f"attnretrieval: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
