"""Makes patches of small untracked files: of code, and of texts that code may read beside it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tidemill.data.repository.secret_patterns import holds_secret, is_secret_file

__all__ = ["MOST_TEXTS", "UNTRACKED_LIMIT", "may_be_read", "new_file_patch", "unfit", "untracked_patches"]

UNTRACKED_LIMIT = 64 * 1024
"""Largest untracked file that is kept, in bytes."""
MOST_TEXTS = 50
"""Texts beside the code that are looked at."""

_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f]+')
"""Names that git does not quote in patches."""
_TABLES = frozenset(
    {".arrow", ".csv", ".db", ".feather", ".jsonl", ".ndjson", ".parquet", ".sqlite", ".tsv", ".xlsx"}
)
_READ_BY_NO_CODE = frozenset(
    {
        ".bak", ".err", ".gif", ".html", ".jpeg", ".jpg", ".log", ".md", ".orig", ".out", ".pdf", ".pid",
        ".png", ".pyc", ".rej", ".rst", ".svg", ".swp", ".tmp", ".webp",
    }
)  # fmt: skip
"""What people and programs leave in a folder: pages, pictures, logs, copies."""


def may_be_read(file: str) -> bool:
    """Return whether code may read a file that is none itself, by its path in the project.

    >>> [may_be_read(file) for file in ("lookup.json", "words.txt", "run.log", ".idea/x.xml")]
    [True, True, False, False]
    """
    path = PurePosixPath(file)
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() not in _READ_BY_NO_CODE and not file.endswith("~")


def unfit(path: Path, file: str, most: int) -> str | None:
    """Return why a file is not kept, by its name and size alone.

    Args:
        path: the file.
        file: its path in the project.
        most: bytes.
    """
    if is_secret_file(file):
        return "it looks like a secret"
    if _PLAIN.fullmatch(file) is None:
        return "its name has quotes, backslashes or control characters"
    if path.is_symlink() or not path.is_file():
        return None  # a deleted one, or a link, is small
    size = path.stat().st_size
    return f"it is larger than {most:,} bytes" if size > most else None


def untracked_patches(root: Path, files: Iterable[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the patches that make untracked files, and why the others are not kept, by file.

    Args:
        root: the project.
        files: their paths there.

    Raises:
        OSError: one cannot be read.
    """
    made, left_out = {}, {}
    for file in files:
        found = _untracked_patch(root, file)
        if isinstance(found, str):
            left_out[file] = found
        else:
            made[file] = found
    return made, left_out


def _untracked_patch(root: Path, file: str) -> bytes | str:
    path = root / file
    why = unfit(path, file, UNTRACKED_LIMIT)
    if why is None and PurePosixPath(file).suffix.lower() in _TABLES:
        why = "it is a table: `tidemill data add` versions it"
    if why is None and path.is_symlink():
        why = "it is a link"
    if why is not None:
        return why
    content = path.read_bytes()
    if b"\0" in content:
        return "it is no text"
    if holds_secret(file, content):
        return "it holds what looks like a secret"
    return new_file_patch(file, content, executable=os.access(path, os.X_OK))


def new_file_patch(file: str, content: bytes, *, executable: bool = False) -> bytes:
    r"""Return the patch that makes a file of text.

    >>> print(new_file_patch("a.py", b"A = 1").decode())
    diff --git a/a.py b/a.py
    new file mode 100644
    --- /dev/null
    +++ b/a.py
    @@ -0,0 +1,1 @@
    +A = 1
    \ No newline at end of file
    <BLANKLINE>
    """
    head = f"diff --git a/{file} b/{file}\nnew file mode {100755 if executable else 100644}\n"
    if not content:
        return f"{head}index 0000000..e69de29\n".encode()
    lines = content.split(b"\n")
    unended = lines.pop()
    lines += [unended] if unended else []
    tab = "\t" if " " in file else ""  # as git ends a name with spaces
    head += f"--- /dev/null\n+++ b/{file}{tab}\n@@ -0,0 +1,{len(lines)} @@\n"
    end = b"\\ No newline at end of file\n" if unended else b""
    return head.encode() + b"".join(b"+" + line + b"\n" for line in lines) + end
