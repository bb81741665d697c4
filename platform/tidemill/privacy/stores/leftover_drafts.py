"""Finds and deletes drafts that killed writers left behind, which can hold rows of anyone."""

import os
from collections.abc import Iterable
from pathlib import Path

from tidemill.errors import DataError
from tidemill.files.drafts import find_leftovers, remove_leftover

__all__ = ["delete_draft", "leftover_drafts"]


def leftover_drafts(root: Path, found: Iterable[Path]) -> set[Path]:
    """Return the leftover drafts in the project, and those beside or in what lies outside of it.

    Args:
        root: the project's folder.
        found: the files and folders where the project stores rows.

    Raises:
        DataError: a folder cannot be read.
    """
    outside = [path for path in found if not path.is_relative_to(root)]
    try:
        drafts = set(find_leftovers(root))
        scratch = root / ".dvc" / "tmp"  # rows of versions that were compared
        drafts |= set(find_leftovers(scratch, depth=1)) if scratch.is_dir() else set()
        for path in outside:
            drafts |= set(find_leftovers(path)) if path.is_dir() else set()
            drafts |= set(find_leftovers(path.parent, depth=1)) if path.parent.is_dir() else set()
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be searched for drafts: {error.strerror}", hint="check its permissions"
        ) from error
    return drafts


def delete_draft(draft: Path) -> bool:
    """Delete a leftover draft; return False if another process has deleted it.

    Raises:
        DataError: it cannot be deleted.
    """
    try:
        done = remove_leftover(draft)
    except OSError as error:
        raise DataError(
            f"{draft}, left behind by a killed writer, cannot be deleted: {error.strerror}",
            hint="delete it by hand, then `tidemill data erase --resume`",
        ) from error
    if not done and os.path.lexists(draft):
        raise DataError(
            f"{draft} was left behind when a folder was replaced, and the folder is missing",
            hint="rename it to the folder's name, or delete it; then `tidemill data erase --resume`",
        )
    return done
