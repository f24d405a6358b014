"""Fast forms of the equations, for the CPU: the same results to rounding, in files of their own beside `equations/`.

Each has the name and the arguments of its plain equation, shows the algebra that makes it equal, and is held to it by
tests/fast/, gradients included. steps.py here says which of them a chain runs on, and all_pairs.py which a matrix of pairs;
`Model(..., fast=False)` uses the plain equations throughout. A saved model does not depend on the choice.

On a GPU a model is plain, so the chains here may use what CuPy lacks. The forms of pairs (pairs_*.py) keep to what NumPy and
CuPy share, and tests hold them to it, but they are not chosen there: they make many small products.
"""
