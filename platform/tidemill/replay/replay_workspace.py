"""Makes the folder of a replay: new each time, and deleted only if a replay or a demo made it.

If one is killed, its folder contains the mark, is empty, or does not exist; the next one replaces it.
"""

import glob
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from tidemill.data.personal.pseudonyms import KEY_FILE
from tidemill.data.repository.git import git
from tidemill.data.repository.repository_setup import init_workspace
from tidemill.errors import UsageError
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml
from tidemill.project import Project, load_project
from tidemill.project.scaffold import PROJECT_FILES, clear_folder, copy_project, reference_project
from tidemill.serving.runtime.stack_record import status_in
from tidemill.settings import Settings

__all__ = ["paths_elsewhere", "prepare_workspace", "project_files"]

_MARK = ".tidemill-demo"
_OWN = {"dvc.lock", ".dvc/config", ".dvc/.gitignore"}
"""Of the repository that a project is in: a workspace has its own."""


def prepare_workspace(source: Path, target: Path, names: Sequence[str] = PROJECT_FILES) -> Project:
    """Copy files of the project at ``source`` to ``target``, under git and DVC with a local remote.

    An earlier workspace is replaced. Its servers take free ports, as the ones that the settings name may be
    those of a stack that runs.

    Raises:
        UsageError: ``target`` contains something that neither a replay nor a demo made, cannot be made or
            replaced, or a stack runs there.
    """
    target = target.resolve()  # a link stays; its target is replaced
    try:
        _remove_earlier(source.resolve(), target)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be used as a workspace: {error.strerror}",
            hint="name another folder with --workspace DIR",
        ) from error
    copy_project(source, target, mark=_MARK, names=names)
    with (target / ".gitignore").open("a") as ignore:
        ignore.write(f"\n/{_MARK}\n/demo.json\n/replay.json\n/.tidemill/\n")
    init_workspace(target, target / ".tidemill" / "remote")
    _bring_key(source, target)
    return load_project(target, replace(Settings(), serve_port=0, mlflow_port=0))


def project_files(source: Path) -> list[str]:
    """Return the files of a project: what git keeps or would keep, and what stages read from its folder.

    Raises:
        DataError: the project is not in a git repository.
    """
    if source == reference_project():  # its folder holds much more
        return list(PROJECT_FILES)
    listed = git(source, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    found = {name for name in listed if name and (source / name).is_file()}
    data = {name.removesuffix(".dvc") for name in found if name.endswith(".dvc")}
    read = {name for name in data | _read_by_stages(source) if (source / name).exists()}
    return sorted((found | read) - _OWN)


def paths_elsewhere(project: Project, target: Path) -> list[str]:
    """Return relative paths, of ``data.source`` and of what stages read, that mean others in a workspace."""
    section = project.params.get("data")
    source = section.get("source") if isinstance(section, dict) else None
    read = {name for stage in _stages(project.root) for name in _paths(stage.get("deps"))}
    given = read | ({source} if isinstance(source, str) else set())
    outside = [name for name in given if "://" not in name and ".." in Path(name).parts]
    return sorted(
        name for name in outside if (project.root / name).resolve() != (target.resolve() / name).resolve()
    )


def _stages(source: Path) -> list[dict[str, Any]]:
    """Return the stages that run in the project's folder."""
    try:
        stages = parse_dvc_yaml((source / "dvc.yaml").read_text(encoding="utf-8")).get("stages", {})
    except (OSError, UnicodeDecodeError, YamlError, AttributeError):
        return []  # whoever runs the stages says what is wrong
    return [stage for stage in stages.values() if isinstance(stage, dict) and "wdir" not in stage]


def _read_by_stages(source: Path) -> set[str]:
    """Return the paths in the project's folder that stages read and none of them writes."""
    bodies = _stages(source)
    read = {name for stage in bodies for name in _paths(stage.get("deps"))}
    written = {
        name for stage in bodies for kind in ("outs", "metrics", "plots") for name in _paths(stage.get(kind))
    }
    return {name for name in read - written if not Path(name).is_absolute() and ".." not in Path(name).parts}


def _paths(entries: object) -> Iterable[str]:
    for entry in entries if isinstance(entries, list) else []:
        yield entry if isinstance(entry, str) else next(iter(entry), "") if isinstance(entry, dict) else ""


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
            f"{target} exists and was not made by a demo or a replay",
            hint="name another folder with --workspace DIR; nothing was touched",
        )
    if source.is_relative_to(target):
        raise UsageError(
            f"{target} holds the project that is to be copied",
            hint="name another folder with --workspace DIR; nothing was touched",
        )
    if status_in(target) is not None:
        raise UsageError(
            f"a stack is running in {target}", hint=f"tidemill down --project {target}, then try again"
        )
