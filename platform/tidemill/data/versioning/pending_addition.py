"""Records an addition of data in a journal before it changes a file, so that it can be undone or finished.

An addition changes the ``.dvc`` file, a ``.gitignore`` beside it, and, when the data itself is replaced
(labels imported again, rows of erased subjects removed), the data. Before the commit all of it can be
restored; after it the data is only linked again from DVC's cache, which can be repeated.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tidemill.data.repository.dvc_command import retry_while_locked, scratch_folder
from tidemill.data.repository.git import git_try
from tidemill.data.repository.private_dvc import DvcException
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.versioning.journals import is_inside, is_text_or_none, read_journal
from tidemill.data.versioning.params_file import read_file
from tidemill.data.versioning.pending_reproduction import is_committed
from tidemill.files.atomic import replace_file

__all__ = ["begin", "finish_or_undo", "ignore_file", "replace_with_backup"]

_ASIDE = ".tidemill-before"
"""Folder beside the data for replaced files."""


def begin(root: Path, path: str, replaced: Sequence[str]) -> None:
    """Record in the journal what adding ``path`` will change.

    Args:
        root: the project's folder.
        path: the file or folder to add, relative to ``root``.
        replaced: files, relative to ``root``, whose content will be replaced (see `replace_with_backup`).
    """
    pointer, ignore = root / f"{path}.dvc", ignore_file(root, path)
    note = {
        "path": path,
        "pointer": read_file(pointer),
        "ignore": read_file(ignore),
        "replaced": {file: (root / file).exists() for file in replaced},
        "aside": _ASIDE,
    }
    replace_file(_note(root), json.dumps(note))


def replace_with_backup(root: Path, path: str, file: str, new: Path) -> None:
    """Replace ``file``, one of those of ``path``, by ``new``; the old one is kept until `finish_or_undo`."""
    place, aside = root / file, _aside(_aside_folder(root, path, _ASIDE), path, file)
    if place.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        os.link(place, aside)
    new.replace(place)


def finish_or_undo(root: Path, tell: Callable[[str], None], patience: float) -> None:
    """Finish the last addition if it is committed; undo it otherwise."""
    note = read_journal(_note(root), _fits)
    if note is None:
        return
    path, pointer = str(note["path"]), f"{note['path']}.dvc"
    if (
        (root / pointer).exists()
        and is_committed(root, pointer)
        and read_file(root / pointer) != note["pointer"]
    ):
        _link(root, pointer, tell, patience)
    else:
        tell(f"adding {path} was not finished: it is undone")
        _undo(root, note)
    shutil.rmtree(_aside_of(root, note), ignore_errors=True)
    _note(root).unlink()


def _link(root: Path, pointer: str, tell: Callable[[str], None], patience: float) -> None:
    """Replace the data by links to DVC's cache, except files that were changed since the commit.

    Links only save space: the addition is complete without them.
    """
    data = root / pointer.removesuffix(".dvc")
    # In the name of a .dvc file, DVC reads the part after a colon as a stage; in that of data it does not.
    target = str(data if ":" in data.name else root / pointer)

    def link() -> None:
        repo.checkout([target], relink=True)

    try:
        with open_dvc(root) as repo:
            retry_while_locked(root, link, tell, patience)
    except (DvcException, OSError) as error:
        tell(
            f"{pointer.removesuffix('.dvc')} is under version, but could not be linked to the cache: {error}"
        )


def _undo(root: Path, note: dict[str, Any]) -> None:
    path = str(note["path"])
    ignore = ignore_file(root, path)
    for file, before in ((root / f"{path}.dvc", note["pointer"]), (ignore, note["ignore"])):
        if before is None:
            file.unlink(missing_ok=True)
        elif file.parent.is_dir() and read_file(file) != before:  # the folder may be deleted by now
            replace_file(file, str(before))
        git_try(root, "reset", "--quiet", "--", str(file.relative_to(root)))
    for name, existed in note["replaced"].items():
        place = root / name
        aside = _aside(_aside_of(root, note), path, name)
        if aside.exists():
            aside.replace(place)
        elif not existed:
            place.unlink(missing_ok=True)


def _fits(note: dict[str, Any]) -> bool:
    path, replaced = note.get("path"), note.get("replaced")
    if not is_inside(path) or not isinstance(replaced, dict):
        return False
    beside = Path(str(path)).parent
    return (
        all(is_inside(file) and Path(file).is_relative_to(beside) for file in replaced)
        and all(isinstance(existed, bool) for existed in replaced.values())
        and all(name in note and is_text_or_none(note[name]) for name in ("pointer", "ignore"))
        and note.get("aside") in (None, _ASIDE)
    )


def ignore_file(root: Path, path: str) -> Path:
    """Return the ``.gitignore`` that DVC writes to when ``path`` is added."""
    return (root / path).parent / ".gitignore"


def _aside_of(root: Path, note: dict[str, Any]) -> Path:
    path = str(note["path"])
    # Earlier versions named the folder after the data.
    return _aside_folder(root, path, note.get("aside") or f".{Path(path).name}.tidemill-before")


def _aside_folder(root: Path, path: str, name: str) -> Path:
    # Beside the data: on the same file system, and not part of a folder that is being added.
    return (root / path).with_name(name)


def _aside(folder: Path, path: str, file: str) -> Path:
    return folder / Path(file).relative_to(Path(path).parent)


def _note(root: Path) -> Path:
    return scratch_folder(root) / "tidemill-addition.json"
