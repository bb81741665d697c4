"""Replaces files and folders so that a reader sees the old content or the new one, never a part.

Content is written to a draft in the same folder, flushed to disk, and renamed. `tidemill.files.drafts`
removes the drafts that killed processes leave behind.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.files.drafts import discard_draft, new_draft, new_draft_folder, published, replaced_name

__all__ = [
    "flush_file",
    "flush_folder",
    "move_into_place",
    "replace_file",
    "replacing",
    "replacing_files",
    "replacing_folder",
]


def replace_file(path: Path, content: str | bytes, *, mode: int | None = None, flush: bool = True) -> None:
    r"""Write ``content`` to ``path``, whole or not at all; text in UTF-8, without changing line ends.

    Args:
        path: the file. Missing folders are made.
        content: the whole content.
        mode: permissions, such as ``0o600``; default: those of the file that is replaced, writable for its
            owner; of a new file what the user's umask leaves of ``0o666``.
        flush: whether to wait until it is on disk; False for content that a power failure may lose.

    Raises:
        OSError: it cannot be written; the file is not changed.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "made", "note.txt")
    >>> replace_file(path, "first\n")
    >>> replace_file(path, "second\n")
    >>> path.read_text(), [file.name for file in path.parent.iterdir()]
    ('second\n', ['note.txt'])
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, mode=mode, flush=flush) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, mode: int | None = None, flush: bool = True) -> Iterator[Path]:
    """Give an empty draft beside ``path`` that replaces it when the block succeeds, or else is deleted.

    Arguments and errors are those of `replace_file`, but the folder must exist.
    """
    draft = new_draft(path, mode=mode)
    try:
        yield draft
        move_into_place(draft, path, flush=flush)
    finally:
        discard_draft(draft)


@contextmanager
def replacing_files() -> Iterator[Callable[[Path], Path]]:
    """Give a function from a path to its draft; all drafts replace their files when the block succeeds.

    Every draft is written and flushed before the first rename. A kill between two renames can leave some
    files new and others old.

    Raises:
        OSError: a draft cannot be made or moved.
    """
    drafts: dict[Path, Path] = {}

    def draft_of(path: Path) -> Path:
        if path not in drafts:
            path.parent.mkdir(parents=True, exist_ok=True)
            drafts[path] = new_draft(path)
        return drafts[path]

    try:
        yield draft_of
        for draft in drafts.values():
            flush_file(draft)
        for path, draft in drafts.items():
            draft.replace(path)
            published(draft)
        for folder in {path.parent for path in drafts}:
            flush_folder(folder)
    finally:
        for draft in drafts.values():
            discard_draft(draft)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside ``folder`` that replaces it when the block succeeds, or else is deleted.

    The old folder or file is moved away and then deleted. A kill between the two renames leaves the old
    content under a name that ends in ``.old``; the next draft beside it moves it back.

    Raises:
        OSError: it cannot be made or moved; the old content is not changed.
    """
    draft = new_draft_folder(folder)
    try:
        yield draft
        _swap(draft, folder)
        published(draft)
    finally:
        discard_draft(draft)


def move_into_place(draft: Path, path: Path, *, flush: bool = True) -> None:
    """Flush ``draft`` and rename it to ``path``, on the same file system.

    Raises:
        OSError: it cannot be flushed or moved.
    """
    if flush:
        flush_file(draft)
    draft.replace(path)
    published(draft)
    if flush:
        flush_folder(path.parent)


def flush_file(path: Path) -> int:
    """Flush the content of a file to disk, and return its size in bytes.

    Raises:
        OSError: it cannot be flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to disk.

    Raises:
        OSError: they cannot be flushed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(draft: Path, folder: Path) -> None:
    if not os.path.lexists(folder):
        draft.replace(folder)
        return
    with replaced_name(draft, folder) as old:
        folder.replace(old)
        try:
            draft.replace(folder)
        except OSError:
            old.replace(folder)
            raise
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.unlink()
