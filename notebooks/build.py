"""Make the notebooks of the course from their sources, with executed outputs.

    python notebooks/build.py                       all of them
    python notebooks/build.py 2_self_attention      one
    python notebooks/build.py --check               write nothing; exit code 1 where a notebook is stale or a cell raises

A source is one text file in source/, in jupytext's percent format. Code stands in it once; words stand in pairs, English first:

    # %% [markdown] lang="en"
    # %% [markdown] lang="zh"

    source/2_self_attention.py  →  en/2_self_attention.ipynb, zh/2_self_attention.ipynb
    source/2_exercises.py       →  en/2_exercises.ipynb, zh/2_exercises.ipynb           with blanks, not executed
                                   solutions/2_exercises.ipynb                          both languages, executed

Chinese words are typed with ASCII punctuation in short lines, and typeset on the way (attnretrieval.course.chinese).
A notebook is executed once and both languages get the same outputs. What lies between ### BEGIN SOLUTION and ### END SOLUTION
stands in the solutions alone. Ids of cells are numbers and no time is stored, so that a rebuild changes what has changed.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
LANGUAGES = ("en", "zh")
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?^ *### END SOLUTION$", re.DOTALL | re.MULTILINE)
BLANK = 'raise NotImplementedError("your turn")'
CELL_SECONDS = 120          # a cell that takes longer has gone wrong
WIDGET = "application/vnd.jupyter.widget-view+json"     # sliders: nothing without a kernel; the same cell shows a picture too
NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?")
ROUNDING, TINY = 0.02, 1e-6     # two machines round differently, and a trained network shows it
PIXELS = 8.0                    # mean difference, of 255, that two pictures of one figure may have: fonts differ


class StaleNotebook(Exception):
    """A committed notebook is not what its source makes; says which and where."""


class Made(NamedTuple):
    notebooks: dict[str, dict]      # "en/2_self_attention.ipynb": the notebook
    seconds: float                  # of its execution


def sources() -> list[str]:
    return sorted(path.stem for path in (HERE / "source").glob("*.py"))


def make(name: str) -> Made:
    """All notebooks of a source; raises nbclient's CellExecutionError where a cell does."""
    cells = read(name)
    started = time.perf_counter()
    outputs = execute(cells)
    seconds = time.perf_counter() - started
    if "exercises" not in name:
        return Made({f"{language}/{name}.ipynb": notebook(cells, (language,), outputs) for language in LANGUAGES}, seconds)
    blanks = [cell if cell["cell_type"] != "code" else cell | {"source": blank(cell["source"])} for cell in cells]
    made = {f"{language}/{name}.ipynb": notebook(blanks, (language,), {}) for language in LANGUAGES}
    return Made(made | {f"solutions/{name}.ipynb": notebook(cells, LANGUAGES, outputs)}, seconds)


def read(name: str) -> list[dict]:
    """The cells of a source, with an id each. Words must come in pairs."""
    import jupytext

    from attnretrieval.course.chinese import typeset

    cells = jupytext.reads((HERE / "source" / f"{name}.py").read_text(encoding="utf-8"), fmt="py:percent").cells
    languages = [cell.metadata.get("lang") for cell in cells if cell.cell_type == "markdown"]
    if languages != list(LANGUAGES) * (len(languages) // 2):
        raise ValueError(f"source/{name}.py: words must come in pairs, first lang=\"en\" and then lang=\"zh\"; "
                         f"found {languages}")
    return [{"cell_type": cell.cell_type, "id": f"cell-{i:03}", "lang": cell.metadata.get("lang"),
             "source": typeset(cell.source) if cell.metadata.get("lang") == "zh" else cell.source}
            for i, cell in enumerate(cells)]


def blank(source: str) -> str:
    return SOLUTION.sub(lambda match: match[1] + BLANK, source)


def execute(cells: list[dict]) -> dict[str, list]:
    """The outputs of each code cell, by its id, from a fresh kernel that uses this checkout."""
    import nbclient
    import nbformat

    book = nbformat.from_dict(notebook(cells, ("en",), {}))
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(book, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=True,
                                         resources={"metadata": {"path": folder}}, record_timing=False)
        client.execute(env=os.environ | {"PYTHONPATH": path})
    return {cell.id: clean(cell.outputs) for cell in book.cells if cell.cell_type == "code"}


def clean(outputs: list) -> list[dict]:
    """Outputs that depend on what was computed alone: one text where printing was cut into several, no widgets, no counters."""
    kept: list[dict] = []
    for output in outputs:
        output = {key: value for key, value in output.items() if key != "execution_count"}
        if output["output_type"] == "stream" and kept and kept[-1].get("name") == output["name"]:
            kept[-1]["text"] += output["text"]
            continue
        if WIDGET in output.get("data", ()):
            continue
        if "image/png" in output.get("data", ()):
            output["data"] = {**output["data"], "image/png": smaller(output["data"]["image/png"])}
        kept.append(output)
    return kept


def smaller(png: str) -> str:
    """The same picture, on white instead of with a transparency that it does not use, and packed well."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    packed = io.BytesIO()
    Image.alpha_composite(white, picture).convert("RGB").save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def notebook(cells: list[dict], languages: tuple[str, ...], outputs: dict[str, list]) -> dict:
    """A notebook in format 4.5, of the cells in these languages."""
    kept, count = [], 0
    for cell in cells:
        if cell["lang"] not in (None, *languages):
            continue
        one = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}, "source": cell["source"]}
        if cell["cell_type"] == "code":
            count += bool(outputs)
            results = [{**output, "execution_count": count} if output["output_type"] == "execute_result" else output
                       for output in outputs.get(cell["id"], [])]
            one |= {"execution_count": count or None, "outputs": results}
        kept.append(one)
    return {"cells": kept, "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}


# ---- what is committed ------------------------------------------------------------------------------------------------


def write(made: Made) -> list[Path]:
    import nbformat

    paths = []
    for name, book in made.notebooks.items():
        for cell in book["cells"]:
            for output in cell.get("outputs", ()):
                if output.get("name") == "stderr":
                    raise ValueError(f"{name}, {cell['id']} writes to stderr; a lesson gives no warning:\n{output['text']}")
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(nbformat.writes(nbformat.from_dict(book)) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def check(made: Made) -> None:
    """Raise StaleNotebook where a committed notebook differs: words and code exactly, numbers and pictures up to rounding."""
    import nbformat

    for name, book in made.notebooks.items():
        if not (HERE / name).is_file():
            raise StaleNotebook(f"notebooks/{name} is missing; run python notebooks/build.py")
        committed = nbformat.read(HERE / name, as_version=4)
        new, old = book["cells"], committed.cells
        for mine, theirs in zip(new, old, strict=False):
            where = f"notebooks/{name}, {mine['id']}"
            if any(mine[key] != theirs.get(key) for key in ("cell_type", "id", "source")):
                raise StaleNotebook(f"{where} is not what the source says; run python notebooks/build.py")
            difference = compare(mine.get("outputs", []), theirs.get("outputs", []))
            if difference:
                raise StaleNotebook(f"{where}: its output is stale: {difference}; run python notebooks/build.py")
        if len(new) != len(old):
            raise StaleNotebook(f"notebooks/{name} has {len(old)} cells, the source makes {len(new)}; "
                                "run python notebooks/build.py")


def compare(new: list, old: list) -> str:
    """What differs between two lists of outputs, "" where nothing does. Warnings depend on the machine: not compared."""
    new, old = ([output for output in outputs if output.get("name") != "stderr"] for outputs in (new, old))
    if len(new) != len(old):
        return f"there are {len(new)} outputs, the notebook has {len(old)}"
    for mine, theirs in zip(new, old, strict=True):
        a, b = ({"text/plain": output["text"]} if "text" in output else output["data"] for output in (mine, theirs))
        if set(a) != set(b):
            return f"it is {', '.join(sorted(a))}, the notebook has {', '.join(sorted(b))}"
        for kind in a:
            same = same_picture if kind == "image/png" else same_text
            if not same(a[kind], b[kind]):
                return "the picture differs" if kind == "image/png" else f"now {a[kind]!r:.200}, then {b[kind]!r:.200}"
    return ""


def same_text(a: str, b: str) -> bool:
    """Equal but for the rounding of numbers with a point or an exponent; whole numbers are exact."""
    words, others = (["".join(part.split()) for part in NUMBER.split(text)] for text in (a, b))     # a minus moves columns
    if words != others:
        return False
    for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True):
        if x != y and (x.lstrip("+-").isdigit() and y.lstrip("+-").isdigit()
                       or abs(float(x) - float(y)) > TINY + ROUNDING * max(abs(float(x)), abs(float(y)))):
            return False
    return True


def same_picture(a: str, b: str) -> bool:
    import numpy as np
    from PIL import Image

    one, other = (Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB") for data in (a, b))
    if any(abs(x - y) > 0.03 * x + 4 for x, y in zip(one.size, other.size, strict=True)):
        return False
    difference = np.asarray(one, float) - np.asarray(other.resize(one.size), float)
    return float(np.abs(difference).mean()) <= PIXELS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a source, such as 2_self_attention [all]")
    parser.add_argument("--check", action="store_true", help="write nothing; say what is stale")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(sources())
    if unknown:
        parser.error(f"no source {', '.join(sorted(unknown))}; there are {', '.join(sources())}")
    stale = 0
    for name in arguments.names or sources():
        made = make(name)
        try:
            done = check(made) if arguments.check else write(made)
            print(f"{name}: {made.seconds:.0f} s", *(path.relative_to(HERE) for path in done or ()))
        except StaleNotebook as error:
            stale += 1
            print(error)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
