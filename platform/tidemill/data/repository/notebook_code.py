"""Tells whether two states of a notebook have the same code: running it changes its outputs and numbers."""

import json

__all__ = ["is_notebook", "same_code"]


def is_notebook(file: str) -> bool:
    """Return whether a file is a notebook of Jupyter, by its name.

    >>> is_notebook("first look.ipynb"), is_notebook("train.py")
    (True, False)
    """
    return file.lower().endswith(".ipynb")


def same_code(before: bytes, now: bytes) -> bool:
    """Return whether two notebooks have the same cells of code; False where one cannot be read.

    >>> def notebook(count, *cells):
    ...     made = [{"cell_type": "code", "execution_count": count, "source": cell} for cell in cells]
    ...     return json.dumps({"cells": made}).encode()
    >>> same_code(notebook(None, "A = 1"), notebook(7, ["A = ", "1"]))
    True
    >>> same_code(notebook(None, "A = 1"), notebook(None, "A = 2")), same_code(b"", b"")
    (False, False)
    """
    cells = _code_cells(before)
    return cells is not None and cells == _code_cells(now)


def _code_cells(content: bytes) -> list[str] | None:
    try:
        cells = json.loads(content)["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return None
