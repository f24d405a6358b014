"""Search through a gallery: the public function against the scan or the product that it cannot do without.

`Ours` opens a gallery on disk, as the verb `search` does, and asks for the ten best. The references hold the same vectors in
memory and give bare products, neither normalised nor sorted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attnretrieval.model import Encoded
from attnretrieval.retrieval.gallery import open_gallery, write_gallery
from attnretrieval.retrieval.search import search_images
from tests.benchmarks.contest import Spec, ask_once, contest, workers
from tests.benchmarks.goals import SEARCH
from tests.benchmarks.memory import peak
from tests.benchmarks.table import Row

D, K = 256, 10
CASES = [(100_000, 1), (100_000, 100), (100_000, 1000), (1_000_000, 1), (1_000_000, 100)]       # items, queries
BLOCK = 8192                    # items of a block of the product in blocks
MIB = 2**20


class Ours:
    def __init__(self, folder: str, queries: int):
        self.gallery = open_gallery(folder)
        self.queries = Encoded(None, None, draw_queries(queries))

    def step(self) -> None:
        self.hits = search_images(self.gallery, None, self.queries, "index", k=K)

    def ids(self) -> list[list[int]]:
        self.step()
        return self.hits.ids.tolist()


class Bare:
    """The products alone, and the same answer by brute force."""

    def __init__(self, folder: str, queries: int, how: str):
        self.G = np.array(open_gallery(folder).images.g)
        self.Q = draw_queries(queries)
        self.out = np.empty((queries, BLOCK if how == "blocks" else len(self.G)), np.float32)
        self.step = {"vecdot": self.vecdot, "vector": self.vector, "whole": self.whole, "blocks": self.blocks}[how]

    def vecdot(self) -> None:
        np.vecdot(self.G, self.Q[0], out=self.out[0])

    def vector(self) -> None:
        np.matmul(self.G, self.Q[0], out=self.out[0])

    def whole(self) -> None:
        np.matmul(self.Q, self.G.T, out=self.out)

    def blocks(self) -> None:
        for start in range(0, len(self.G), BLOCK):
            block = self.G[start:start + BLOCK]
            np.matmul(self.Q, block.T, out=self.out[:, :len(block)])

    def ids(self) -> list[list[int]]:
        """Cosines in float64, all sorted; equals by the lower id."""
        found = []
        G = self.G.astype(np.float64)
        G /= np.linalg.norm(G, axis=1, keepdims=True)
        for query in self.Q.astype(np.float64):
            found.append(np.argsort(-(G @ query), kind="stable")[:K].tolist())
        return found


def draw_queries(count: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, D), np.float32)


def write_vectors(folder: Path, items: int) -> str:
    """A gallery of random vectors, without tokens."""
    (folder / "model.npz").write_bytes(b"no model: the index needs none")
    rng = np.random.default_rng(0)
    blocks = (Encoded(None, None, rng.standard_normal((min(50_000, items - start), D), np.float32))
              for start in range(0, items, 50_000))
    write_gallery(folder / "gallery", folder / "model.npz", images=blocks, image_names=[str(i) for i in range(items)],
                  store_tokens=False)
    return str(folder / "gallery")


def measure(items: int, queries: int, rounds: int, seconds: float) -> Iterator[Row]:
    name = f"search-{items // 1000}k-{queries}"
    with tempfile.TemporaryDirectory() as folder:
        gallery = write_vectors(Path(folder), items)
        arguments = {"folder": gallery, "queries": queries}
        ways = {"vecdot": "np.vecdot over the rows", "vector": "matrix-vector product"} if queries == 1 else {
            "whole": "one matrix product", "blocks": f"products of {BLOCK} items"}
        specs = {"ours": Spec("tests.benchmarks.search:Ours", arguments)}
        bare = {how: Spec("tests.benchmarks.search:Bare", {**arguments, "how": how}) for how in ways}
        reference = "bare scan" if queries == 1 else "bare product"
        if ask_once(specs["ours"], call="ids") != ask_once(next(iter(bare.values())), call="ids"):
            yield Row(f"{name} / {reference}", None, None, SEARCH[queries], "ms CPU", "not the ids of brute force")
            return
        with workers(specs | bare) as (started, _):
            time = {way: 1000 * timing.cpu for way, timing in contest(started, rounds, seconds).items()}
        best = min(ways, key=time.get)
        yield Row(f"{name} / {reference}", time["ours"], time[best], SEARCH[queries], "ms CPU", ways[best])
        if queries == max(q for _, q in CASES):
            used = peak("tests.benchmarks.search:Ours", **arguments)
            yield Row(f"{name} / memory of all scores", used, queries * items * 4 / MIB, None, "MiB",
                      f"the gallery's {items * D * 4 / MIB:.0f} MiB on disk included")
