"""The GEMM floor: the matrix products of a step alone, forward and backward, in np.matmul.

No softmax, no sums, no copies, no optimiser, and nothing computed twice: a step in NumPy with this algebra cannot be
faster. The operands lie in memory and the results go to memory that is there already. All pairs are taken a block at a time,
over the same memory, as if the cache held them. Words that are padding take no part in the paired products.
`python -m tests.benchmarks.floor` lists the products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.benchmarks.problem import SIZES, Size, sentence_lengths

BLOCK = 16                      # items of a block of all pairs; whole or 8 or 32 at once are no faster


@dataclass(frozen=True)
class Product:
    what: str
    rows: int
    inner: int
    columns: int
    batch: int = 1              # as many in one call
    first_T: bool = False       # the first operand lies transposed in memory
    second_T: bool = False
    repeat: int = 1             # as many calls, over the same memory

    @property
    def flop(self) -> int:
        return 2 * self.repeat * self.batch * self.rows * self.inner * self.columns


def with_backward(
    what: str, rows: int, inner: int, columns: int, batch: int = 1, second_T: bool = False, d_first: bool = True,
    repeat: int = 1,
) -> list[Product]:
    """Y = X W, and in the backward d_X = d_Y Wᵀ and d_W = Xᵀ d_Y; with `second_T` Y = X Wᵀ, d_X = d_Y W and d_W = d_Yᵀ X."""
    products = [Product(what, rows, inner, columns, batch, second_T=second_T, repeat=repeat)]
    if d_first:
        products += [Product(f"{what}: d of the first", rows, columns, inner, batch, second_T=not second_T, repeat=repeat)]
    d_second = (columns, rows, inner) if second_T else (inner, rows, columns)
    return products + [Product(f"{what}: d of the second", *d_second, batch, first_T=True, repeat=repeat)]


def alone_products(size: Size, N: int, gated: bool) -> list[Product]:
    """Both sides by themselves. The features have no gradient."""
    d, d_k = size.d, size.d // size.heads
    products = []
    for side, tokens, d_in in (("text", size.n, size.d_t), ("image", size.m, size.d_v)):
        products += with_backward(f"{side}: X [W_Q W_K W_V]", N * tokens, d_in, 3 * d, d_first=False)
        products += with_backward(f"{side}: Q Kᵀ", tokens, d_k, tokens, N * size.heads, second_T=True)
        products += with_backward(f"{side}: A V", tokens, tokens, d_k, N * size.heads)
        products += with_backward(f"{side}: C W_O", N * tokens, d, d)
        if gated:
            products += with_backward(f"{side}: H W_1", N * tokens, d, d)
    return products + with_backward("S = Ĝ_t Ĝ_vᵀ", N, d, N, second_T=True)


def paired_products(size: Size, N: int, gated: bool) -> list[Product]:
    """All pairs: L = H_t H_vᵀ once for both directions, then what the fusion asks for."""
    words, m, d = int(sentence_lengths(size, N).sum()), size.m, size.d
    n = round(words / N)
    products = with_backward("L = H_t H_vᵀ", words, d, N * m, second_T=True)
    for side, own, other, others in (("text", n, m, N * m), ("image", m, n, words)):
        if gated:
            products += with_backward(f"{side}: K W_2", others, d, d)
            # an item of the other side with a block of this side's
            products += with_backward(f"{side}: A [K, K W_2]", BLOCK * own, other, 2 * d, repeat=N * N // BLOCK)
            # the token's own part H W_1 is that of the step alone; in the backward the two gradients are added first
        else:
            products += with_backward(f"{side}: (w A) K", N, other, d, N)
    return products


def step_products(size: Size, task: str, N: int) -> list[Product]:
    gated = task == "gate"
    return alone_products(size, N, gated) + ([] if task == "alone" else paired_products(size, N, gated))


class Floor:
    def __init__(self, size: str, task: str, N: int):
        rng = np.random.default_rng(0)
        self.calls = [(operands(product, rng), product.repeat) for product in step_products(SIZES[size], task, N)]

    def step(self) -> None:
        for (first, second, out), repeat in self.calls:
            for _ in range(repeat):
                np.matmul(first, second, out=out)


def operands(product: Product, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def draw(rows: int, columns: int, transposed: bool) -> np.ndarray:
        shape = (columns, rows) if transposed else (rows, columns)
        x = rng.standard_normal(((product.batch,) if product.batch > 1 else ()) + shape, np.float32)
        return x.swapaxes(-1, -2) if transposed else x

    first = draw(product.rows, product.inner, product.first_T)
    second = draw(product.inner, product.columns, product.second_T)
    return first, second, np.matmul(first, second)


if __name__ == "__main__":
    for task in ("alone", "add", "gate"):
        print(f"\n{task}, large, N=64")
        for p in step_products(SIZES["large"], task, 64):
            shape = f"{p.repeat * p.batch:5} × ({p.rows}, {p.inner}) @ ({p.inner}, {p.columns})"
            print(f"{shape:40}{p.flop / 1e9:8.3f} GFLOP   {p.what}")
