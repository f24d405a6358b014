"""PyTorch on one thread, here only: its thread pool would compete with NumPy's for the same cores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def one_torch_thread() -> Iterator[None]:
    torch = pytest.importorskip("torch", reason='needs torch: pip install "attnretrieval[oracle]"')
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
