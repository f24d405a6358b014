"""One file an equation: TeX, forward, backward."""
