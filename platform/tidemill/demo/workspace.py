"""The folder a demo works in: made new each time, and only ever deleted when a demo made it."""

import shutil
from pathlib import Path

from tidemill.data.workspace import init_workspace
from tidemill.errors import UsageError
from tidemill.project import Project, load_project
from tidemill.project.scaffold import copy_project
from tidemill.serving.stack import status

__all__ = ["prepare_workspace"]

_MARK = ".tidemill-demo"


def prepare_workspace(source: Path, target: Path) -> Project:
    """Copy the project at ``source`` to ``target``, under git and DVC with a local remote.

    An earlier demo's workspace is replaced.

    Raises:
        UsageError: ``target`` holds something that no demo made, or a stack is running there.
    """
    if target.exists() and any(target.iterdir()):
        if not (target / _MARK).exists():
            raise UsageError(
                f"{target} exists and was not made by a demo",
                hint="name another folder with --workspace DIR; nothing was touched",
            )
        if (target / "params.yaml").exists() and status(load_project(target)) is not None:
            raise UsageError(
                f"a stack is running in {target}", hint=f"tidemill down --project {target}, then try again"
            )
        shutil.rmtree(target)
    copy_project(source, target)
    (target / _MARK).write_text("Made by `tidemill demo`, and replaced by the next one.\n")
    with (target / ".gitignore").open("a") as ignore:
        ignore.write(f"/{_MARK}\n/demo.json\n")
    init_workspace(target, target / ".tidemill" / "remote")
    return load_project(target)
