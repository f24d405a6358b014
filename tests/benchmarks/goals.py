"""The goals, each the largest ratio ours / reference that we want, by the name of its row.

`STEPS` gives them for a training step with one thread, CPU time; `TWO_THREADS` for wall time with two.
"""

from __future__ import annotations

# (task, size) to {reference: largest ratio}
STEPS: dict[tuple[str, str], dict[str, float]] = {
    ("alone", "large"): {"PyTorch, Q K V apart": 0.92, "floor": 1.20},
    ("alone", "small"): {"PyTorch strongest": 0.92},
    ("alone", "tiny"): {"PyTorch strongest": 0.90},
    ("add", "large"): {"PyTorch, Q K V apart": 0.92, "PyTorch textbook": 0.35, "floor": 1.40},
    ("add", "small"): {},
    ("add", "tiny"): {"PyTorch strongest": 0.90},
    ("gate", "large"): {"PyTorch default": 0.50, "PyTorch strongest": 0.75, "floor": 1.90},
    ("gate", "small"): {"PyTorch strongest": 0.80},
    ("gate", "tiny"): {"PyTorch strongest": 0.90},
}
TWO_THREADS = {"PyTorch default": 1.0}
ALONE_TWO_AGAINST_ONE = 1 / 1.6         # alone, large, N=64: the time with two threads over that with one
MEMORY_MIB = {64: 160, 128: 350, 256: 900}      # of a paired gated step, large, above imports
SEARCH = {1: 1.15, 100: 1.35, 1000: 1.35}       # by the number of queries: over the bare scan, over the bare product
RERANK_US = 60                          # a pair
CNN = 2.5                               # an image, over PyTorch eager
IMPORT_SECONDS = 0.35
