"""An InputError of a notebook is one line, other errors keep their traceback, and both stop the cell."""

from __future__ import annotations

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra course")
nbformat = pytest.importorskip("nbformat", reason="needs the extra course")

SETUP = "from attnretrieval.course.messages import one_line_errors\none_line_errors()\n"


def error_of(code: str) -> dict:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SETUP), nbformat.v4.new_code_cell(code)])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return next(output for output in notebook.cells[1].outputs if output["output_type"] == "error")


def test_an_input_error_is_its_message() -> None:
    error = error_of("from attnretrieval.inputs.captions import load_captions\nload_captions('nowhere.txt')")
    assert error["ename"] == "InputError" and len(error["traceback"]) == 1
    assert error["traceback"][0].startswith("InputError: ") and "nowhere.txt" in error["traceback"][0]


def test_other_errors_keep_their_traceback() -> None:
    assert len(error_of("1 / 0")["traceback"]) > 1


def test_outside_a_notebook_nothing_happens() -> None:
    from attnretrieval.course.messages import one_line_errors

    one_line_errors()
