"""Fast forms of the equations where the profile asked for one: same names, same results to rounding, algebra in the docstring."""
