"""In a notebook, an error in what the user gave is one line: what came, what was expected, what to do.

    one_line_errors()               in the first cell; from then on an InputError has no traceback

A traceback says where the package found out. For a wrong path or a damaged file that is no help, and it hides the message.
Other errors keep theirs, and the cells below do not run in either case.
"""

from __future__ import annotations

from attnretrieval.inputs.files import InputError


def one_line_errors() -> None:
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:           # None: not in a notebook
        shell.set_custom_exc((InputError,), _one_line)


def _one_line(shell, kind: type[Exception], error: Exception, _trace, tb_offset: int | None = None) -> list[str]:
    lines = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, lines)        # it puts the error into the notebook; IPython has no public name for it
    return lines
