"""Fast forms of the equations, for the CPU: the same results to rounding, in files of their own beside `equations/`.

Each has the name and the arguments of its plain equation, shows the algebra that makes it equal, and is held to it by
tests/fast/, gradients included. They are written for NumPy alone, so they may use what CuPy lacks. steps.py here says which of
them a chain runs on; `Model(..., fast=False)` and every model on a GPU use the plain equations. A saved model does not depend
on the choice.
"""
