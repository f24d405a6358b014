"""Cost curves: `python -m tests.benchmarks curves --out FILE.png` draws how time and memory grow.

Three panels, both axes logarithmic, so that a cost that grows as size^k is a straight line of slope k. Slopes are fitted by
least squares to the upper half of the sizes, where what does not grow weighs least.

    time of a paired gated step       against the batch N, the words n and the regions m
    its peak memory above imports     likewise
    time of a search                  against the size of the gallery, for one query and for 100
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from attnretrieval.figures.style import BLUE, GREEN, GREY, ORANGE, new_figure, save
from tests.benchmarks.contest import Spec, contest, workers
from tests.benchmarks.memory import peak
from tests.benchmarks.problem import SIZES, Size
from tests.benchmarks.search import D, write_vectors

N = 32                          # the batch while n or m changes
SWEEPS = {"N": (8, 16, 32, 64, 128), "n": (8, 16, 32, 64, 128), "m": (9, 18, 36, 72, 144)}
QUICK_SWEEPS = {"N": (4, 8, 16), "n": (8, 16, 32), "m": (9, 18, 36)}
GALLERIES, QUICK_GALLERIES = (1_000, 10_000, 100_000, 1_000_000), (1_000, 3_000, 10_000)
QUERIES = (1, 100)
WORDS = {"N": "batch N", "n": "words n", "m": "regions m"}
# told apart by colour, dashes and marker
LOOKS = ({"color": BLUE, "linestyle": "-", "marker": "o"}, {"color": ORANGE, "linestyle": "--", "marker": "s"},
         {"color": GREEN, "linestyle": ":", "marker": "^"})


@dataclass(frozen=True)
class Curve:
    panel: str                  # one of PANELS
    label: str
    sizes: list[int]
    costs: list[float]

    @property
    def upper(self) -> slice:
        """Where the line is fitted: the upper half of the sizes, the middle one included."""
        return slice(len(self.sizes) // 2, None)

    def fit(self) -> tuple[float, np.ndarray]:
        """The slope, and the costs on the fitted line at `sizes[upper]`."""
        x, y = np.log(self.sizes[self.upper]), np.log(self.costs[self.upper])
        slope, start = np.polyfit(x, y, 1)
        return float(slope), np.exp(start + slope * x)


STEP_X = f"N (n = 16, m = 36);  n, m (N = {N})"
PANELS = {
    "time": ("A paired gated step: time", STEP_X, "CPU time (ms)"),
    "memory": ("A paired gated step: memory", STEP_X, "peak above imports (MiB)"),
    "search": (f"Search: the ten best, d = {D}", "vectors in the gallery", "CPU time (ms)"),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks curves", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", required=True, help="the picture")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there as well")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    options = parser.parse_args(arguments)
    effort = {"rounds": 2, "seconds": 0.05} if options.quick else {"rounds": 5, "seconds": 0.3}
    curves = [*step_curves(QUICK_SWEEPS if options.quick else SWEEPS, **effort),
              *search_curves(QUICK_GALLERIES if options.quick else GALLERIES, **effort)]
    for curve in curves:
        pairs = ", ".join(f"{size:,}: {cost:.3g}" for size, cost in zip(curve.sizes, curve.costs, strict=True))
        print(f"{PANELS[curve.panel][0]}, {curve.label}: slope {curve.fit()[0]:.2f}   {pairs}")
    draw(curves, options.out)
    if options.json:
        rows = [{**asdict(curve), "slope": curve.fit()[0]} for curve in curves]
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def resized(what: str, value: int) -> tuple[Size, int]:
    """The large configuration with one size changed, and its batch."""
    large = SIZES["large"]
    if what == "N":
        return large, value
    if what == "n":
        return replace(large, n=value, least=max(1, value * large.least // large.n)), N
    return replace(large, m=value), N


def step_curves(sweeps: dict[str, Sequence[int]], rounds: int, seconds: float) -> list[Curve]:
    curves = []
    for what, values in sweeps.items():
        arguments = []
        for value in values:
            size, batch = resized(what, value)
            arguments.append({"size": asdict(size), "task": "gate", "N": batch})
        times = cpu_times([Spec("tests.benchmarks.ours:Step", a) for a in arguments], rounds, seconds)
        curves.append(Curve("time", WORDS[what], list(values), times))
        curves.append(Curve("memory", WORDS[what], list(values), [peak("tests.benchmarks.ours:Step", **a) for a in arguments]))
    return curves


def search_curves(galleries: Sequence[int], rounds: int, seconds: float) -> list[Curve]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for items in galleries:
            (Path(folder) / str(items)).mkdir()
            paths.append(write_vectors(Path(folder) / str(items), items))
        return [Curve("search", "1 query" if queries == 1 else f"{queries} queries", list(galleries), cpu_times(
                    [Spec("tests.benchmarks.search:Ours", {"folder": path, "queries": queries}) for path in paths],
                    rounds, seconds))
                for queries in QUERIES]


def cpu_times(specs: list[Spec], rounds: int, seconds: float) -> list[float]:
    """Milliseconds of CPU time a step, one thread."""
    with workers({str(i): spec for i, spec in enumerate(specs)}) as (started, failed):
        if failed:
            raise RuntimeError("; ".join(failed.values()))
        return [1000 * timing.cpu for timing in contest(started, rounds, seconds).values()]


def draw(curves: Sequence[Curve], path: str) -> None:
    figure = new_figure(13, 4.6)
    for axes, (panel, (title, x_label, y_label)) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        own = [curve for curve in curves if curve.panel == panel]
        for curve, look in zip(own, LOOKS, strict=False):
            slope, line = curve.fit()
            axes.plot(curve.sizes, curve.costs, label=f"{curve.label}: slope {slope:.2f}", markersize=6, **look)
            axes.plot(curve.sizes[curve.upper], line, color=GREY, linewidth=0.8)
        axes.set(title=title, xlabel=x_label, ylabel=y_label, xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            # 1, 2, 5, 10, ... up to two decades, 1, 10, 100, ... from there on
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
            axis.set_minor_locator(NullLocator())
        axes.grid(True, color="0.88")
        axes.legend()
    figure.text(0.995, 0.01, "grey: fitted to the upper half of the sizes", ha="right", va="bottom", color=GREY, fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    save(figure, path)
