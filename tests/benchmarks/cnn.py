"""The CNN: one image's feature map, out of a batch, against PyTorch eager with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import numpy as np

from attnretrieval.fast.threads import set_threads, share
from attnretrieval.inputs.efficientnet import PACKAGE, SIZE, feature_map, load_efficientnet
from tests.benchmarks.contest import Missing, Spec, WorkerError, ask_once, contest, workers
from tests.benchmarks.goals import CNN
from tests.benchmarks.table import Row

BATCH = 8
TORCH = {"batch norm": {"folded": False, "last": False}, "folded": {"folded": True, "last": False},
         "folded, channels last": {"folded": True, "last": True}}
TOLERANCE = 1e-3                # of features up to 6, in float32 through 49 layers


def draw_images(count: int) -> np.ndarray:
    """(count, 224, 224, 3) with values 0 to 255: slopes, edges and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    slopes = np.stack([y, x, 255 * ((y // 28 + x // 28) % 2)], axis=-1)
    return ((slopes + rng.integers(0, 60, (count, SIZE, SIZE, 3))) % 256).astype(np.float32)


class Ours:
    def __init__(self, batch: int, threads: int = 1):
        set_threads(threads)
        self.net = load_efficientnet()
        self.images = draw_images(batch)

    def step(self) -> None:
        # whole images side by side, as `attnretrieval features` shares them out
        self.maps = share(partial(feature_map, self.net), self.images)

    def features(self) -> list:
        """Those of the first image, (7, 7, 1280), as nested lists."""
        self.step()
        return self.maps[0].tolist()


def measure(rounds: int, seconds: float, threads: int = 1) -> Iterator[Row]:
    unit = "ms CPU" if threads == 1 else "ms wall"
    goal = CNN if threads == 1 else None
    if find_spec(PACKAGE) is None:
        yield Row("cnn / PyTorch eager", None, None, goal, unit, f'needs {PACKAGE}: pip install "attnretrieval[cnn]"')
        return
    arguments = {"batch": BATCH, "threads": threads}
    specs = {"ours": Spec("tests.benchmarks.cnn:Ours", arguments, blas_threads=1)}
    specs |= {way: Spec("tests.benchmarks.torch_cnn:TorchNet", arguments | options) for way, options in TORCH.items()}
    absent = disagreements(specs)
    with workers({way: spec for way, spec in specs.items() if way not in absent}, threads) as (started, failed):
        timings = contest(started, rounds, seconds)
    time = {way: 1000 * (t.cpu if threads == 1 else t.wall) / BATCH for way, t in timings.items()}
    best = min((way for way in TORCH if way in time), key=time.get, default=None)
    note = f"an image of a batch of {BATCH}; {best}" if best else "; ".join({**absent, **failed}.values())
    yield Row("cnn / PyTorch eager", time["ours"], time.get(best), goal, unit, note)


def disagreements(specs: dict[str, Spec]) -> dict[str, str]:
    """For each contender whose features differ from ours, why."""
    ours = np.array(ask_once(specs["ours"], call="features")["result"])
    found = {}
    for way in TORCH:
        try:
            error = np.abs(ours - ask_once(specs[way], call="features")["result"]).max()
        except (Missing, WorkerError) as failure:
            found[way] = str(failure)
            continue
        if not error <= TOLERANCE:
            found[way] = f"{way}: not the same features, by {error:.1e}"
    return found
