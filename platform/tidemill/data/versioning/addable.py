"""Checks which files and folders can be versioned, and names those that cannot."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tidemill.data.repository.git import git_try
from tidemill.data.repository.revisions import outputs_at
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

__all__ = ["FileState", "path_in_project", "refuse_conflicts", "survey"]

FileState = dict[str, tuple[int, int]]
"""Path of each file → its size in bytes, and the time of its last change in nanoseconds."""

_IGNORE = "/data/**   !/data/**/   !/data/**/*.dvc   !/data/**/.gitignore"
_NOT_DATA = frozenset({".git", ".dvc", ".tidemill"})
_LEFT_OUT = frozenset({".git", ".hg"})
"""Folders that DVC leaves out of a folder that is added."""
_OF_DVC = frozenset({"dvc.yaml", "dvc.lock", ".dvcignore"})
_LONGEST_NAME = 255 - len(".dvc")
_SHOWN = 10
_ADDRESS = re.compile(r"(?:^|/)([a-z][a-z0-9+.-]*:)/(.+)")
"""As pathlib writes it: ``s3:/bucket/orders``."""


def path_in_project(root: Path, path: Path) -> str:
    """Return ``path`` relative to the project at ``root``, after checking that it can be added.

    Args:
        root: the project's folder.
        path: relative to ``root``, or absolute.

    Raises:
        UsageError: it is outside the project, does not exist, or has a name that DVC or git cannot store.
    """
    place = root / path
    # The last part may be a link (DVC follows it); the folders above it must be in the project.
    whole = place.parent.resolve() / place.name
    if whole == root.resolve():
        raise UsageError(f"{path} is the project itself", hint="name a file or folder of data in it")
    if not whole.is_relative_to(root.resolve()):
        raise UsageError(f"{readable(path)} is not in the project {root}", hint="copy or move it there first")
    relative = whole.relative_to(root.resolve())
    if relative.parts[0] in _NOT_DATA:
        raise UsageError(f"{relative} is not data of the project", hint="name a file or folder of data")
    if problem := _bad_name(relative.as_posix()):
        raise UsageError(f"{readable(relative)} cannot be put under version: {problem}", hint="rename it")
    address = _ADDRESS.search(relative.as_posix())
    if address is not None and not os.path.lexists(whole):
        raise UsageError(
            f"{address[1]}//{address[2]} is an address: only what lies in the project is put under version",
            hint="copy it into data/, and add that; a new project can read it there: `tidemill init --data`",
        )
    if not os.path.lexists(whole):
        raise UsageError(f"{whole} does not exist", hint="check the path; it is relative to the project")
    return relative.as_posix()


def refuse_conflicts(project: Project, path: str) -> None:
    """Refuse a path that is versioned in another way, fully or in part, or that git ignores.

    Raises:
        UsageError: it is part of an output or contains one; or its name cannot be stored.
        DataError: git would ignore its ``.dvc`` file.
    """
    if problem := _bad_name(path):
        raise UsageError(f"{readable(path)} cannot be put under version: {problem}", hint="rename it")
    head = git_try(project.root, "rev-parse", "--verify", "HEAD").stdout.strip()
    for output in outputs_at(project, head) if head else ():
        if output != path and Path(path).is_relative_to(output):
            raise UsageError(f"{path} is part of {output}", hint=f"add that: `tidemill data add {output}`")
        if output != path and Path(output).is_relative_to(path):
            raise UsageError(
                f"{path} cannot be put under version: {output} in it is already",
                hint=f"`dvc remove {output}.dvc` first, or add the other files in {path}",
            )
    if git_try(project.root, "check-ignore", "--quiet", "--no-index", f"{path}.dvc").returncode == 0:
        raise DataError(
            f"git ignores {path}.dvc, the file that records the data's version",
            hint=f"let .gitignore ignore data only; for /data/ these lines do: {_IGNORE}",
        )


def survey(root: Path, path: str) -> FileState:
    """Return the state of each file of ``path``, after checking that DVC can store all of them.

    Args:
        root: the project's folder.
        path: the file or folder, relative to ``root``.

    Raises:
        UsageError: it is an empty folder, or not everything in it is a readable file; the message names it.
    """
    top = root / path
    files: FileState = {}
    problems: list[str] = []
    for place in _walk(top):
        name = str(place.relative_to(root))
        problem = _problem(place, top)
        if problem:
            problems.append(f"{readable(name)} {problem}")
        elif not place.is_dir():
            found = place.stat()
            files[name] = (found.st_size, found.st_mtime_ns)
    if problems:
        listed = problems[:_SHOWN]
        if len(problems) > _SHOWN:
            listed.append(f"and {len(problems) - _SHOWN} more")
        raise UsageError(
            "\n  - ".join([f"{path} cannot be put under version:", *listed]),
            hint="remove, rename or replace that, and add it again; nothing was changed",
        )
    if not files:
        raise UsageError(f"{top} is an empty folder", hint="add it when there are files in it")
    return files


def readable(name: Path | str) -> str:
    r"""Return a file's name as it can be printed: bytes that are not UTF-8 are shown by their numbers.

    >>> readable("data/a\udcff.csv")
    'data/a\\xff.csv'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _walk(top: Path) -> Iterator[Path]:
    """Yield ``top`` and everything in it, without following links to folders."""
    yield top
    if not top.is_dir():
        return
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in (*folders, *sorted(files)):
            yield Path(folder, name)


def _problem(place: Path, top: Path) -> str | None:
    """Return why DVC cannot store a file or folder, or None."""
    if place != top and (problem := _bad_name(place.name, inside=True)):
        return f"has a name that cannot be kept: {problem}"
    if place != top and place.name == ".dvc" and place.is_dir():
        return "belongs to another DVC repository, which DVC leaves out"
    try:
        kind = place.stat().st_mode
    except FileNotFoundError:
        return f"is a link to {readable(place.readlink())}, which does not exist"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(kind):
        if place.is_symlink():
            return "is a link to a folder, which DVC does not follow"
        return None if _allows(place, os.R_OK | os.X_OK) else "is a folder that you may not read"
    if not stat.S_ISREG(kind):
        return f"is {_name_of(kind)}, not a file"
    if place != top and place.is_symlink() and not place.resolve().is_relative_to(top.resolve()):
        return f"is a link that leaves the folder: it leads to {readable(place.resolve())}"
    return None if _allows(place, os.R_OK) else "is a file that you may not read"


def _bad_name(path: str, *, inside: bool = False) -> str | None:
    """Return what is wrong with the name of a file or folder to be added, or None."""
    name = path.rpartition("/")[2]
    try:
        size = len(name.encode())
        path.encode()
    except UnicodeEncodeError:
        return "it is not in UTF-8"
    if name.endswith(".dvc") and name != ".dvc":
        return "DVC reads every file whose name ends with .dvc as its own"
    if name in _OF_DVC:
        return "DVC reads every file of this name as its own"
    if inside:
        return None
    if path.splitlines() != [path]:
        return "it holds a line break, which .gitignore cannot hold"
    if name.endswith(" "):
        return "it ends with a space, which .gitignore leaves out"
    if name == ".gitignore":
        return "git reads every file of this name as its own"
    if size > _LONGEST_NAME:
        return f"it has {size} bytes, and at most {_LONGEST_NAME} leave room for .dvc"
    return None


def _allows(place: Path, mode: int) -> bool:
    return os.access(place, mode, effective_ids=os.access in os.supports_effective_ids)


def _name_of(kind: int) -> str:
    if stat.S_ISFIFO(kind):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(kind) else "a device"
