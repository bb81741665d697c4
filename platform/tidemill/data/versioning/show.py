"""Describes one data version: its files, and the size, schema and columns of its tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from tidemill.data.expectations.declarations import load_expectations
from tidemill.data.expectations.row_keys import declared_types
from tidemill.data.repository.contents import Wanted, contents, select
from tidemill.data.repository.dvc_command import Tell, quiet
from tidemill.data.repository.git import git, git_try
from tidemill.data.repository.revisions import outputs_at, repository, resolve
from tidemill.data.tables.version_tables import TableStats, describe, is_table, reading, scan, shape
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.errors import ConfigError, DataError, VersionNotFound
from tidemill.project import Project

__all__ = ["Shown", "ShownOutput", "show"]


@dataclass(frozen=True)
class ShownOutput:
    """A file or folder of a version."""

    path: str
    md5: str
    size: int | None
    """Bytes."""
    files: int | None
    """Number of files in a folder."""
    rows: int | None = None
    """Of a table."""
    schema: Mapping[str, str] | None = None
    """Of a table: type by column."""
    stats: TableStats | None = None
    """Statistics of a table that was requested by name."""
    note: str | None = None
    """Why a table could not be read."""


@dataclass(frozen=True)
class Shown:
    """A data version and its outputs."""

    revision: str
    time: datetime
    message: str
    outputs: tuple[ShownOutput, ...]
    validation: Mapping[str, Any] | None
    """The report of stage validate that is committed with it, if there is one."""


def show(
    project: Project,
    revision: str = "HEAD",
    path: str | None = None,
    tell: Tell = quiet,
    *,
    patience: float = PATIENCE,
) -> Shown:
    """Return the files of a version, and the schemas of its tables.

    Args:
        project: the project.
        revision: anything that names a commit.
        path: only this output, folder, or file in a folder, then with the statistics of every column.
        tell: the callback for progress.
        patience: seconds to wait for another process that holds DVC's lock, if content must be fetched.

    Raises:
        VersionNotFound: there is no such version, or no such path in it.
        DataError: the content of ``path`` is in neither cache nor remote, or cannot be read.
    """
    root, commit = repository(project), resolve(project, revision)
    outputs = outputs_at(project, commit)
    if not outputs:
        raise VersionNotFound(
            f"commit {commit[:8]} has no data under version", hint="see `tidemill data log`"
        )
    wanted = (
        [Wanted(output) for output in outputs.values()] if path is None else select(outputs, [path], commit)
    )
    found = []
    for number, one in enumerate(wanted):
        tell("reading", one.path, number, len(wanted))
        found.append(_look(project, commit, one, path is not None, tell, patience))
    seconds, _, message = git(root, "log", "-1", "--format=%ct%x1f%s", commit).rstrip("\n").partition("\x1f")
    time = datetime.fromtimestamp(int(seconds), UTC)
    return Shown(commit, time, message, tuple(found), _validation(project, commit, tell, patience))


def _look(
    project: Project, commit: str, wanted: Wanted, in_full: bool, tell: Tell, patience: float
) -> ShownOutput:
    output = wanted.output
    size, files = (output.size, output.files) if wanted.part is None else (None, None)
    bare = ShownOutput(wanted.path, output.md5, size, files)
    if not is_table(wanted.path) and not output.is_folder:
        return bare
    try:
        with contents(project, commit, [wanted], tell, patience) as found, reading(wanted.path):
            if not found.contents:
                return bare
            name, suffixes = found.contents[0].path, {PurePosixPath(c.path).suffix for c in found.contents}
            if len(suffixes) != 1 or not is_table(name):
                return bare
            types = declared_types(project.root, output.path)
            table = scan(name, [content.file for content in found.contents], types)
            rows, schema = shape(table)
            stats = describe(table) if in_full else None
            here = sum(content.file.stat().st_size for content in found.contents)
            md5 = output.md5 if wanted.part is None else found.contents[0].md5
            return ShownOutput(wanted.path, md5, size or here, files, rows, schema, stats)
    except DataError as error:
        if in_full:
            raise
        return ShownOutput(wanted.path, output.md5, size, files, note=str(error))


def _validation(project: Project, commit: str, tell: Tell, patience: float) -> Mapping[str, Any] | None:
    try:
        report = load_expectations(project.root).report
    except ConfigError:
        report = "data/validation.json"  # the declarations of today need not be right to look back
    output = outputs_at(project, commit).get(report)
    try:
        if output is not None and output.kept:
            with contents(project, commit, [Wanted(output)], tell, patience) as found:
                content = json.loads(found.contents[0].file.read_bytes())
        else:
            shown = git_try(project.root, "show", f"{commit}:./{report}")
            content = json.loads(shown.stdout) if shown.returncode == 0 else None
    except (DataError, ValueError, OSError):
        return None
    return content if isinstance(content, dict) else None
