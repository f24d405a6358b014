"""Cross-modal retrieval with self-attention, every forward and every backward pass written by hand in NumPy."""

__version__ = "0.1.0"
