"""Keeps the cells that a notebook had run when a run began, as IPython's history of this process has them."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

from tidemill.data.repository.secret_patterns import holds_secret
from tidemill.files.atomic import replace_file
from tidemill.training.tracking.origins.code_differences import CodeDiff

__all__ = ["CELLS_LIMIT", "keep_cells", "read_cells", "with_cells"]

CELLS_LIMIT = 256 * 1024
"""Largest text of cells that is kept, in bytes; where it is longer, the first cells are left out."""


def keep_cells(home: Path) -> str | None:
    """Put the cells that were run so far on file.

    Args:
        home: the project's folder ``.tidemill``.

    Returns:
        SHA-256 of the file, or why it is not kept; None where no notebook runs.

    Raises:
        OSError: it cannot be written.
    """
    content = _as_text(_cells_run()).encode()
    if not content:
        return None
    if holds_secret("cells.py", content):
        return "not kept: they hold what looks like a secret"
    name = hashlib.sha256(content).hexdigest()
    place = _place(home, name)
    if not place.exists():
        replace_file(place, content, flush=False)
    return name


def with_cells(code: CodeDiff, home: Path, before: str | None, after: str | None) -> CodeDiff:
    """Return a diff of two runs' code with that of the cells of their notebooks.

    Args:
        code: without.
        home: the project's folder ``.tidemill``.
        before: what `keep_cells` said when the first run began.
        after: likewise, of the other run.
    """
    if before == after:
        return code
    old, new = (read_cells(home, name).splitlines(keepends=True) for name in (before, after))
    lines = unified_diff(old, new, "a/notebook cells", "b/notebook cells")
    return replace(code, text=code.text + "".join(lines), files=(*code.files, "notebook cells"))


def read_cells(home: Path, name: str | None) -> str:
    """Return cells by what `keep_cells` said; an empty text where they are not on file, or were changed."""
    try:
        content = _place(home, name or "").read_bytes()
    except OSError:
        return ""
    return content.decode() if hashlib.sha256(content).hexdigest() == name else ""


def _cells_run() -> Sequence[str]:
    """Return the cells that this process's IPython has run, as they were written; the present one is last."""
    shell_of = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = shell_of() if shell_of is not None else None
    return () if shell is None else tuple(shell.history_manager.input_hist_raw[1:])


def _as_text(cells: Sequence[str]) -> str:
    r"""Return cells as a script in which editors find them again.

    >>> _as_text(("import tidemill", "", "1 + 1"))
    '# %% 1\nimport tidemill\n\n# %% 3\n1 + 1\n'
    """
    return "\n".join(reversed(list(_latest(cells))))


def _latest(cells: Sequence[str]) -> Iterator[str]:
    """Yield the last cells that have room, the last one first."""
    room = CELLS_LIMIT
    for number, cell in reversed(list(enumerate(cells, 1))):
        part = f"# %% {number}\n{cell.rstrip()}\n"
        room -= len(part.encode()) + 1
        if room < 0:
            return
        if cell.strip():
            yield part


def _place(home: Path, name: str) -> Path:
    return home / "origins" / f"{name}.cells.py"
