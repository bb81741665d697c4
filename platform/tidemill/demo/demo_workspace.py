"""Makes the folder of a demo: new each time, and deleted only if a demo made it.

If a demo is killed, its folder contains the mark, is empty, or does not exist; the next demo replaces it.
"""

import glob
import shutil
from pathlib import Path
from uuid import uuid4

from tidemill.data.personal.pseudonyms import KEY_FILE
from tidemill.data.repository.repository_setup import init_workspace
from tidemill.errors import UsageError
from tidemill.project import Project, load_project
from tidemill.project.scaffold import clear_folder, copy_project
from tidemill.serving.runtime.stack_record import status_in

__all__ = ["prepare_workspace"]

_MARK = ".tidemill-demo"


def prepare_workspace(source: Path, target: Path) -> Project:
    """Copy the project at ``source`` to ``target``, under git and DVC with a local remote.

    An earlier demo's workspace is replaced.

    Raises:
        UsageError: ``target`` contains something that no demo made, cannot be made or replaced, or a stack
            runs there.
    """
    target = target.resolve()  # a link stays; its target is replaced
    try:
        _remove_earlier(source.resolve(), target)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be used as the demo's workspace: {error.strerror}",
            hint="name another folder with --workspace DIR",
        ) from error
    copy_project(source, target, mark=_MARK)
    with (target / ".gitignore").open("a") as ignore:
        ignore.write(f"/{_MARK}\n/demo.json\n")
    init_workspace(target, target / ".tidemill" / "remote")
    _bring_key(source, target)
    return load_project(target)


def _bring_key(source: Path, target: Path) -> None:
    """Copy the privacy key, because the copied tombstones are useless without it."""
    key = source / ".tidemill" / KEY_FILE
    if key.exists():
        shutil.copy2(key, target / ".tidemill" / KEY_FILE)


def _remove_earlier(source: Path, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        _refuse_to_replace(source, target)
        # Move it away as a whole first, so that a kill while deleting never leaves half a workspace.
        target.rename(target.with_name(f".{target.name}.old-{uuid4().hex}"))
    for left in target.parent.glob(f".{glob.escape(target.name)}.old-*"):
        if not left.is_symlink() and (left / _MARK).is_file():
            clear_folder(left, _MARK)
            if not any(left.iterdir()):
                left.rmdir()


def _refuse_to_replace(source: Path, target: Path) -> None:
    if not (target / _MARK).exists():
        raise UsageError(
            f"{target} exists and was not made by a demo",
            hint="name another folder with --workspace DIR; nothing was touched",
        )
    if source.is_relative_to(target):
        raise UsageError(
            f"{target} holds the project that the demo is to copy",
            hint="name another folder with --workspace DIR; nothing was touched",
        )
    if status_in(target) is not None:
        raise UsageError(
            f"a stack is running in {target}", hint=f"tidemill down --project {target}, then try again"
        )
