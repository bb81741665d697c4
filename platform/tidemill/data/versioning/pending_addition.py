"""One addition of data, noted before it changes a file, so that even a kill can be undone or finished.

An addition changes the ``.dvc`` file, a ``.gitignore`` beside it, and, when the data itself is replaced
(labels imported again, rows of erased subjects left out), the data. Before the commit all of it can be put
back; after it the data is only linked anew from DVC's cache, which can be repeated.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tidemill.data.repository.dvc_command import patiently, scratch_folder
from tidemill.data.repository.git import git_try
from tidemill.data.repository.private_dvc import CheckoutError, ConfirmRemoveError
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.versioning.params_file import read_file, replace_file
from tidemill.data.versioning.pending_reproduction import is_committed

__all__ = ["begin", "ignore_file", "put_aside", "settle"]


def begin(root: Path, path: str, replaced: Sequence[str]) -> None:
    """Note what adding ``path`` will change.

    Args:
        root: the project's folder.
        path: the file or folder to add, relative to ``root``.
        replaced: files, relative to ``root``, whose content will be replaced (see `put_aside`).
    """
    pointer, ignore = root / f"{path}.dvc", ignore_file(root, path)
    note = {
        "path": path,
        "pointer": read_file(pointer),
        "ignore": read_file(ignore),
        "replaced": {file: (root / file).exists() for file in replaced},
    }
    replace_file(_note(root), json.dumps(note), scratch_folder(root))


def put_aside(root: Path, path: str, file: str, new: Path) -> None:
    """Put ``new`` in the place of ``file``, one of those of ``path``; the old one is kept until settled."""
    place, aside = root / file, _aside(root, path, file)
    if place.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        os.link(place, aside)
    new.replace(place)


def settle(root: Path, tell: Callable[[str], None], patience: float) -> None:
    """Finish the addition that was begun last if it is committed; undo it otherwise."""
    text = read_file(_note(root))
    if text is None:
        return
    note = json.loads(text)
    path, pointer = note["path"], f"{note['path']}.dvc"
    if (
        (root / pointer).exists()
        and is_committed(root, pointer)
        and read_file(root / pointer) != note["pointer"]
    ):
        _link(root, pointer, tell, patience)
    else:
        tell(f"adding {path} was not finished: it is undone")
        _undo(root, note)
    shutil.rmtree(_aside_folder(root, path), ignore_errors=True)
    _note(root).unlink()


def _link(root: Path, pointer: str, tell: Callable[[str], None], patience: float) -> None:
    def link() -> None:
        repo.checkout([str(root / pointer)], relink=True)

    # Not by force: what somebody wrote into the data since then stays, and is not linked.
    with suppress(CheckoutError, ConfirmRemoveError), open_dvc(root) as repo:
        patiently(root, link, tell, patience)


def _undo(root: Path, note: dict[str, object]) -> None:
    path = str(note["path"])
    ignore = ignore_file(root, path)
    for file, before in ((root / f"{path}.dvc", note["pointer"]), (ignore, note["ignore"])):
        if before is None:
            file.unlink(missing_ok=True)
        elif read_file(file) != before:
            replace_file(file, str(before), scratch_folder(root))
        git_try(root, "reset", "--quiet", "--", str(file.relative_to(root)))
    replaced = note["replaced"]
    assert isinstance(replaced, dict)
    for name, existed in replaced.items():
        place = root / name
        aside = _aside(root, path, name)
        if aside.exists():
            aside.replace(place)
        elif not existed:
            place.unlink(missing_ok=True)


def ignore_file(root: Path, path: str) -> Path:
    """Return the ``.gitignore`` that DVC writes to when ``path`` is added."""
    return (root / path).parent / ".gitignore"


def _aside_folder(root: Path, path: str) -> Path:
    # Beside the data: on the same file system, and not part of a folder that is being added.
    return (root / path).with_name(f".{Path(path).name}.tidemill-before")


def _aside(root: Path, path: str, file: str) -> Path:
    return _aside_folder(root, path) / Path(file).relative_to(Path(path).parent)


def _note(root: Path) -> Path:
    return scratch_folder(root) / "tidemill-addition.json"
