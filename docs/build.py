"""Build the documentation: one site a language, readable without the network.

    python docs/build.py                        both languages, in docs/_build/en and docs/_build/zh
    python docs/build.py --language en          one
    python docs/build.py --out DIR              somewhere else

Needs `pip install -e ".[docs]"`. A warning of Sphinx is shown, and makes the exit code 1. What is written by hand
is in docs/; the pages of the equations, of the course and of the API are made by docs/generator/ from the package and the
notebooks, each time, and not committed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]            # generator, and the package of this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")      # the gradient checks are many small products

NEEDED = ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline", "jieba")
CHOICE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>attnretrieval</title>
<style>body {{ font: 1.3rem sans-serif; margin: 20vh auto; text-align: center; color-scheme: light dark }}</style>
<h1>attnretrieval</h1><p>{links}</p></html>
"""


def build(language: str, others: tuple[str, ...], out: Path) -> bool:
    """Build the site of one language in `out`/language; True where Sphinx had nothing to say. Once in a process."""
    import jieba
    from generator.site import Site
    from sphinx.application import Sphinx
    from sphinx.util.console import nocolor

    jieba.setLogLevel("WARNING")
    if not sys.stderr.isatty():
        nocolor()
    site = Site(language)
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        site.write(source)
        warnings = Warnings(site, source)
        app = Sphinx(source, HERE, out / language, Path(work) / "doctrees", "html", status=None, warning=warnings,
                     freshenv=True, confoverrides=site.settings(others))
        app.build(force_all=True)
    return not warnings.seen


class Warnings:
    """Where Sphinx writes its warnings: standard error, with the file to mend in place of its copy."""

    def __init__(self, site, source: Path) -> None:
        self.site, self.source, self.seen = site, source, False

    def write(self, text: str) -> None:
        self.seen = self.seen or bool(text.strip())
        for page, origin in self.site.origins.items():
            text = text.replace(str(self.source / page), origin)
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--language", choices=("en", "zh"), help="only this one")
    parser.add_argument("--out", type=Path, default=HERE / "_build", metavar="DIR", help="[docs/_build]")
    arguments = parser.parse_args()
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        print(f'the documentation needs {", ".join(missing)}: pip install -e ".[docs]"', file=sys.stderr)
        return 2

    from generator.site import LANGUAGES, PageError

    languages = (arguments.language,) if arguments.language else tuple(LANGUAGES)
    started = time.perf_counter()
    with ProcessPoolExecutor(len(languages), get_context("spawn")) as pool:
        sites = [pool.submit(build, language, tuple(set(languages) - {language}), arguments.out) for language in languages]
        try:
            right = all([site.result() for site in sites])
        except (PageError, OSError) as error:       # OSError: of a folder that cannot be written
            print(error, file=sys.stderr)
            return 1
    for language in languages:
        print(arguments.out / language / "index.html")
    print(f"{time.perf_counter() - started:.0f} s")
    if len(languages) > 1:
        links = " · ".join(f'<a href="{key}/index.html" lang="{key}">{name}</a>' for key, name in LANGUAGES.items())
        (arguments.out / "index.html").write_text(CHOICE.format(links=links), encoding="utf-8")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
