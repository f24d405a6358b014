"""Benchmarks: `python -m tests.benchmarks --help`. docs/performance.md says what is measured and how."""
