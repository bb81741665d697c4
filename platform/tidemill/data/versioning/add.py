"""Versions a file or folder: DVC stores its content, and a git commit makes it a data version."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tidemill.data.personal.tombstones import keep_expression, read_tombstones
from tidemill.data.repository.dvc_command import (
    Tell,
    ignore_line,
    ignore_progress,
    retry_while_locked,
    temporary_folder,
)
from tidemill.data.repository.git import commit_staged, git, git_try
from tidemill.data.repository.private_dvc import (
    DvcException,
    IgnoreInCollectedDirError,
    YAMLSyntaxError,
    YAMLValidationError,
)
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.data.repository.revisions import DataVersion, current, repository
from tidemill.data.repository.transfer import copy_to_remote
from tidemill.data.tables.table_stats import is_table
from tidemill.data.tables.version_tables import reading, scan
from tidemill.data.versioning import pending_addition
from tidemill.data.versioning.addable import path_in_project, refuse_conflicts, survey
from tidemill.data.versioning.content_reading import record_shapes
from tidemill.data.versioning.exclusive import PATIENCE, exclusive_access
from tidemill.errors import DataError, TidemillError, UsageError
from tidemill.files.drafts import find_leftovers, remove_leftover
from tidemill.project import Project

__all__ = ["Added", "add", "keep_table"]


@dataclass(frozen=True)
class Added:
    """The result of an addition."""

    version: DataVersion
    path: str
    """Path relative to the project."""
    changed: bool
    """Whether there is a new version; False if the content was versioned already."""
    erased: int
    """Number of rows of erased subjects that were removed."""


def add(
    project: Project,
    path: str | Path,
    message: str | None = None,
    tell: Tell = ignore_progress,
    *,
    patience: float = PATIENCE,
    before: Callable[[], None] | None = None,
) -> Added:
    """Version the current state of a file or folder, and copy it to the remote.

    All or nothing: after a failure or a kill, files and git are restored (after a kill: by the next call).
    Rows of erased subjects are removed from its tables, also on disk.

    Args:
        project: the project; its folder is a git and DVC repository.
        path: the file or folder, relative to the project, or absolute and inside of it.
        message: of the commit; default: ``Add`` and the path.
        tell: the callback for progress.
        patience: seconds to wait for another process that works in the same repository.
        before: called if something has changed, right before it becomes a version.

    Raises:
        UsageError: there is no such path in the project, or a stage makes it.
        DataError: it changes while it is read, DVC or git refuse, or the remote does (the version stays).
    """
    root = repository(project)
    place = path_in_project(root, Path(path))

    def said(line: str) -> None:
        tell("waiting", line, None, None)

    with exclusive_access(root, said, patience):
        refuse_conflicts(project, place)
        _remove_drafts(root / place)
        survey(root, place)
        with _without_erased(project, place, tell) as (replaced, erased):
            return _keep(project, place, message or f"Add {place}", replaced, erased, tell, patience, before)


def _remove_drafts(folder: Path) -> None:
    """Remove what killed writers left in a folder, so that it does not become part of the version."""
    if not folder.is_dir():
        return
    try:
        for draft in find_leftovers(folder):
            remove_leftover(draft)
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read or removed: {error.strerror}", hint="check its permissions"
        ) from error


def keep_table(
    project: Project,
    path: str,
    message: str,
    write: Callable[[Path], bool],
    tell: Tell,
    patience: float,
    before: Callable[[], None] | None = None,
) -> Added:
    """Write and version a table, all or nothing, as `add` does.

    Args:
        project: the project.
        path: path of the table, relative to the project.
        message: message of the commit.
        write: writes the table to the given path, or returns False if the existing one is equal.
        tell: the callback for progress.
        patience: seconds to wait for another process.
        before: as of `add`.
    """
    root = repository(project)

    def said(line: str) -> None:
        tell("waiting", line, None, None)

    with exclusive_access(root, said, patience):
        refuse_conflicts(project, path)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder((root / path).parent, "new") as folder:
            new = folder / Path(path).name
            replaced = {path: new} if write(new) else {}
            return _keep(project, path, message, replaced, 0, tell, patience, before)


def _keep(
    project: Project,
    path: str,
    message: str,
    replaced: Mapping[str, Path],
    erased: int,
    tell: Tell,
    patience: float,
    before: Callable[[], None] | None,
) -> Added:
    root = project.root
    head = git_try(root, "rev-parse", "--verify", "HEAD").stdout
    pending_addition.begin(root, path, [*replaced])
    try:
        for file, new in replaced.items():
            pending_addition.replace_with_backup(root, path, file, new)
        state = survey(root, path)
        tell("adding", f"{path}, {sum(size for size, _ in state.values()) / 1e6:,.1f} MB", None, None)
        # Not linked to the cache yet, so that the data itself does not change before the commit.
        _hash(root, path, tell, patience)
        if survey(root, path) != state:
            raise DataError(
                f"{path} changed while it was read", hint="wait until it is written, and add it again"
            )
        files = [f"{path}.dvc"]
        ignore = pending_addition.ignore_file(root, path)
        if ignore.exists() and _changed(root, ignore):
            files.append(str(ignore.relative_to(root)))
        git(root, "add", "--", *files)
        commit_staged(root, message, *files, before=before)
    except OSError as error:
        raise DataError(
            f"{path} cannot be put under version: {error}", hint=f"{_advice(error)}; nothing was changed"
        ) from error
    finally:
        pending_addition.finish_or_undo(root, ignore_line, patience)
    version = current(project)
    copy_to_remote(root, version.revision, lambda line: tell("pushing", line, None, None), patience)
    record_shapes(project, version)
    return Added(version, path, version.revision != head.strip(), erased)


def _hash(root: Path, path: str, tell: Tell, patience: float) -> None:
    def said(line: str) -> None:
        tell("waiting", line, None, None)

    try:
        with open_dvc(root) as repo:
            retry_while_locked(root, lambda: repo.add(str(root / path), relink=False), said, patience)
    except (DvcException, IgnoreInCollectedDirError) as error:
        raise _refused(root, path, error) from error


def _refused(root: Path, path: str, error: Exception) -> TidemillError:
    words = str(error)
    if isinstance(error, YAMLValidationError | YAMLSyntaxError):
        broken = os.path.relpath(error.path, root)
        return DataError(
            f"{path} cannot be put under version: DVC takes {broken} for one of its own files, and cannot "
            f"read it",
            hint=f"if {broken} is data, rename it so that it does not end with .dvc; nothing was changed",
        )
    if "is already tracked by SCM" in words:
        return UsageError(
            f"{path} cannot be put under version: git tracks it already",
            hint=f"`git rm --cached {path}`, commit, and add it again",
        )
    return DataError(f"{path} cannot be put under version: {words}", hint="nothing was changed")


def _advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room on the disk"
    return "check that you may read it and write beside it"


def _changed(root: Path, file: Path) -> bool:
    return bool(
        git(root, "status", "--porcelain", "--untracked-files=all", "--", str(file.relative_to(root)))
    )


@contextmanager
def _without_erased(project: Project, path: str, tell: Tell) -> Iterator[tuple[dict[str, Path], int]]:
    """Give the replacements of files with rows of erased subjects, and the number of those rows."""
    place, root = project.root / path, project.root
    if not read_tombstones(root):
        yield {}, 0
        return
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    with temporary_folder(place.parent, "new") as folder:
        replaced, erased = {}, 0
        for number, file in enumerate(file for file in files if file.is_file() and is_table(file.name)):
            name = file.relative_to(root).as_posix()
            tell("reading", name, None, None)
            new = folder / f"{number}{file.suffix}"
            if count := _write_without_erased(project, name, file, new):
                replaced[name] = new
                erased += count
        yield replaced, erased


def _write_without_erased(project: Project, name: str, file: Path, new: Path) -> int:
    with reading(name):
        table = scan(name, [file])
        keep = keep_expression(table.collect_schema().names(), project)
        if keep is None:
            return 0
        count = int(table.select((~keep).sum()).collect(engine="streaming").item())
        if count:
            _sink(table.filter(keep), file.suffix.lower(), new)
    return count


def _sink(table: pl.LazyFrame, suffix: str, new: Path) -> None:
    if suffix in (".parquet", ".pq"):
        table.sink_parquet(new)
    elif suffix in (".csv", ".tsv"):
        table.sink_csv(new, separator="," if suffix == ".csv" else "\t")
    else:
        table.sink_ndjson(new)
