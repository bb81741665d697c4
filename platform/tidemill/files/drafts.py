"""Makes files and folders beside their final path, and removes those that a killed writer left behind.

A draft's name begins with a dot and ends in ``.tmp``, or in ``.old`` for a folder that is being replaced. Its
writer holds a shared lock on it, which the kernel releases when the process ends, however it ends. So a draft
that can be locked exclusively is a leftover. The first draft that a process makes in a folder removes the
leftovers there; an erasure removes those of the whole project.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tidemill.files.locks import close_locked, share_lock, try_lock
from tidemill.ids import new_id

__all__ = [
    "discard_draft",
    "find_leftovers",
    "new_draft",
    "new_draft_folder",
    "published",
    "remove_leftover",
    "replaced_name",
]

_LONGEST_STEM = 40  # characters of the file's name in its draft's name, which may have 255 bytes
_NAME = re.compile(r"\.(?P<stem>.{1,40})\.draft_[0-9a-z]{26}\.(?P<kind>tmp|old)", re.DOTALL)
_SKIPPED = frozenset({".git", ".dvc", ".venv", "venv", "node_modules", "__pycache__"})

_held: dict[Path, int] = {}  # draft → open file that holds its lock
_cleaned: set[Path] = set()  # folders whose leftovers this process has removed


def new_draft(path: Path, *, mode: int | None = None) -> Path:
    """Make an empty file beside ``path``, to be moved there by `tidemill.files.atomic.move_into_place`.

    Args:
        path: the final path; its folder must exist.
        mode: permissions; default: those of the file at ``path``, writable for its owner; of a new file what
            the user's umask leaves of ``0o666``.

    Raises:
        OSError: it cannot be made.
    """
    _clean(path.parent)
    while True:
        draft = _unused(path)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        if _hold(draft, descriptor):
            break
    try:
        if mode is None:
            with suppress(FileNotFoundError):  # there is no file to replace
                mode = path.stat().st_mode & 0o7777 | 0o200
        if mode is not None:
            os.fchmod(descriptor, mode)
    except OSError:
        discard_draft(draft)
        raise
    return draft


def new_draft_folder(path: Path) -> Path:
    """Make an empty folder beside ``path``, and missing folders above it.

    Raises:
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    while True:
        draft = _unused(path)
        draft.mkdir()
        if _hold(draft, os.open(draft, os.O_RDONLY | os.O_DIRECTORY)):
            return draft


def published(draft: Path) -> None:
    """Release a draft that was moved to its final path."""
    descriptor = _held.pop(draft, None)
    if descriptor is not None:
        close_locked(descriptor)


def discard_draft(draft: Path) -> None:
    """Delete a draft, file or folder, unless it was moved to its final path.

    Raises:
        OSError: the file cannot be deleted.
    """
    try:
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
    finally:
        published(draft)


@contextmanager
def replaced_name(draft: Path, path: Path) -> Iterator[Path]:
    """Give the name that the old content of ``path`` has while ``draft`` takes its place."""
    with ExitStack() as stack:
        with suppress(OSError):  # there is nothing that can be opened
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(close_locked, descriptor)
            share_lock(descriptor, wait=False)
        yield draft.with_suffix(".old")


def find_leftovers(folder: Path, *, depth: int | None = None) -> list[Path]:
    """Return the drafts in ``folder`` whose writers have ended, down to ``depth`` levels (default: all).

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # deleted meanwhile
            raise error

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=fail):
        drafts = [name for name in (*folders, *files) if _NAME.fullmatch(name)]
        folders[:] = [name for name in folders if name not in _SKIPPED and name not in drafts]
        if depth is not None and len(Path(place).relative_to(folder).parts) + 1 >= depth:
            folders.clear()
        found += [Path(place, name) for name in drafts]
    return [draft for draft in sorted(found) if _is_leftover(draft)]


def remove_leftover(draft: Path) -> bool:
    """Delete a draft that a killed writer left; return False if its writer is alive.

    An old folder whose replacement is missing is not deleted but moved back.

    Raises:
        OSError: it cannot be deleted or moved.
    """
    with _exclusively(draft) as leftover:
        if not leftover:
            return not os.path.lexists(draft)
        named = _NAME.fullmatch(draft.name)
        if named is not None and named["kind"] == "old":
            path = draft.with_name(named["stem"])
            if not os.path.lexists(path):
                if len(named["stem"]) == _LONGEST_STEM:  # the name may have been longer
                    return False
                draft.rename(path)
                return True
        if draft.is_dir() and not draft.is_symlink():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
        return True


def _clean(folder: Path) -> None:
    if folder in _cleaned:
        return
    _cleaned.add(folder)
    with suppress(OSError):  # the writer itself meets and names what is wrong with the folder
        for entry in list(os.scandir(folder)):
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):  # a leftover does no harm
                    remove_leftover(Path(entry.path))


def _unused(path: Path) -> Path:
    return path.with_name(f".{path.name[:_LONGEST_STEM]}.{new_id('draft')}.tmp")


def _hold(draft: Path, descriptor: int) -> bool:
    """Lock a new draft; return False if another process took it for a leftover before."""
    share_lock(descriptor, wait=True)  # on a file system without locks no other process takes it either
    try:
        same = os.path.samestat(os.fstat(descriptor), draft.stat())
    except FileNotFoundError:
        same = False
    if same:
        _held[draft] = descriptor
    else:
        close_locked(descriptor)
    return same


def _is_leftover(draft: Path) -> bool:
    with _exclusively(draft) as leftover:
        return leftover


@contextmanager
def _exclusively(draft: Path) -> Iterator[bool]:
    """Lock a draft for the block; give False if it is in use or gone."""
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            free = try_lock(descriptor)
        except OSError:  # a file system without locks
            free = False
        yield free
    finally:
        close_locked(descriptor)
