"""Compares two data versions: their files, and the rows, schema and columns of tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import polars as pl

from tidemill.data.expectations.row_keys import declared_key, declared_types
from tidemill.data.repository.contents import (
    RequestedOutput,
    VersionFile,
    fetch_files,
    listing,
    select_outputs,
)
from tidemill.data.repository.dvc_command import Tell, ignore_progress, reading_folder
from tidemill.data.repository.revisions import Output, list_versions, outputs_at, repository, resolve
from tidemill.data.tables.table_stats import ColumnStats, is_table
from tidemill.data.tables.version_tables import describe, reading, scan
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.data.versioning.row_differences import compare_rows
from tidemill.errors import DataError, VersionNotFound
from tidemill.project import Project

__all__ = ["ColumnDiff", "DataDiff", "FileDiff", "TableDiff", "diff", "previous"]

Change = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class ColumnDiff:
    """One column in both versions."""

    name: str
    change: Literal["added", "removed", "retyped", "same"]
    """Change of the schema."""
    before: ColumnStats | None
    after: ColumnStats | None


@dataclass(frozen=True)
class TableDiff:
    """The changes of a table."""

    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int | None
    """Rows with the same key and another value in a column of both versions; None without a key."""
    key: tuple[str, ...]
    """The key columns by which rows were matched; empty: rows were compared as a whole."""
    columns: tuple[ColumnDiff, ...]


@dataclass(frozen=True)
class FileDiff:
    """A file or folder that changed."""

    path: str
    change: Change
    size_before: int | None
    size_after: int | None
    table: TableDiff | None = None
    """The changes of a table that is in both versions."""
    note: str | None = None
    """Why a possible table was not compared."""
    files: tuple[tuple[str, Change], ...] = ()
    """For a folder: its files that differ, and how."""


@dataclass(frozen=True)
class DataDiff:
    """The changes from one version to another."""

    before: str
    after: str
    changes: tuple[FileDiff, ...]
    unchanged: int
    """Number of files and folders that are equal in both."""


def previous(project: Project) -> str:
    """Return the version before the committed one.

    Raises:
        VersionNotFound: there are fewer than two versions.
    """
    versions = list_versions(project, limit=2)
    if len(versions) < 2:
        raise VersionNotFound(f"{project.root} has no two data versions yet", hint="see `tidemill data log`")
    return versions[1].revision


def diff(
    project: Project,
    before: str,
    after: str = "HEAD",
    path: str | None = None,
    key: Sequence[str] = (),
    tell: Tell = ignore_progress,
    *,
    rows: bool = True,
    patience: float = PATIENCE,
) -> DataDiff:
    """Compare two versions.

    Tables are compared row by row: by ``key``, by the key that the project declares for them (labels carry
    theirs; ``unique`` in ``expectations.yaml``), or as a whole. A folder of tables of one kind is one
    table. Columns that only one version has are a change of the schema, not of every row.

    Args:
        project: the project.
        before: anything that names a commit.
        after: likewise.
        path: compare only this output, this folder, or this file in a folder.
        key: columns by which rows are matched.
        tell: the callback for progress.
        rows: whether to compare the rows of tables.
        patience: seconds to wait for another process that holds DVC's lock, if content must be fetched.

    Raises:
        VersionNotFound: there is no such version, or neither has ``path``.
        DataError: content is in neither cache nor remote, a table cannot be read, or ``key`` is not unique.
    """
    repository(project)
    commits = resolve(project, before), resolve(project, after)
    states = [outputs_at(project, commit) for commit in commits]
    sides = [_chosen(state, path, commit) for state, commit in zip(states, commits, strict=True)]
    if path is not None and not any(sides):
        select_outputs(states[1], [path], commits[1])  # its error lists the paths
    names = sorted({*sides[0], *sides[1]})
    comparison = _Comparison(project, commits[0], commits[1], tuple(key), rows, tell, patience)
    found = []
    for number, name in enumerate(names):
        tell("comparing", name, number, len(names))
        found.append(comparison.compare(sides[0].get(name), sides[1].get(name)))
    changes = tuple(change for change in found if change is not None)
    return DataDiff(*commits, changes, len(found) - len(changes))


def _chosen(outputs: dict[str, Output], path: str | None, commit: str) -> dict[str, RequestedOutput]:
    if path is None:
        return {output.path: RequestedOutput(output) for output in outputs.values()}
    try:
        return {wanted.path: wanted for wanted in select_outputs(outputs, [path], commit)}
    except VersionNotFound:
        return {}


@dataclass(frozen=True)
class _Comparison:
    """Compares the two sides of one path."""

    project: Project
    before: str
    after: str
    key: tuple[str, ...]
    rows: bool
    tell: Tell
    patience: float

    def compare(self, one: RequestedOutput | None, other: RequestedOutput | None) -> FileDiff | None:
        if one is None or other is None:
            there = one or other
            assert there is not None
            size = _size(there)
            if one is None:
                return FileDiff(there.path, "added", None, size)
            return FileDiff(there.path, "removed", size, None)
        if one.output.md5 == other.output.md5:
            return None
        sides = self._files(self.before, one), self._files(self.after, other)
        if sides[0] == sides[1]:
            return None
        files = _changes(*sides) if one.part is None and one.output.is_folder else ()
        table, note = self._table(one, other, *sides)
        return FileDiff(one.path, "changed", _size(one), _size(other), table, note, files)

    def _files(self, commit: str, wanted: RequestedOutput) -> dict[str, str]:
        if not wanted.output.is_folder:
            return {wanted.path: wanted.output.md5}
        return listing(self.project, commit, wanted, self.tell, self.patience)

    def _table(
        self, one: RequestedOutput, other: RequestedOutput, before: dict[str, str], after: dict[str, str]
    ) -> tuple[TableDiff | None, str | None]:
        """Compare a possible table; a note says why it was not compared."""
        suffixes = {PurePosixPath(file).suffix.lower() for file in (*before, *after)}
        name = next(iter({*before, *after}), "")
        if not self.rows or len(suffixes) != 1 or not is_table(name) or not before or not after:
            return None, None
        if not (one.output.kept and other.output.kept):
            return None, "not kept by DVC (cache: false)"
        same = {file for file, md5 in before.items() if after.get(file) == md5}
        try:
            with (
                fetch_files(self.project, self.before, [one], self.tell, self.patience) as was,
                fetch_files(self.project, self.after, [other], self.tell, self.patience) as now,
                reading(one.path),
            ):
                return self._compare_tables(one.path, name, was.contents, now.contents, same), None
        except DataError as error:
            if self.key:
                raise  # requested by name: an answer without rows would be useless
            return None, str(error)

    def _compare_tables(
        self, path: str, name: str, was: Sequence[VersionFile], now: Sequence[VersionFile], same: set[str]
    ) -> TableDiff:
        types = declared_types(self.project.root, path)

        def tables(but: set[str]) -> list[pl.LazyFrame]:
            schema = [scan(name, [side[0].file], types).collect_schema() for side in (was, now)]
            kept = [[content.file for content in side if content.path not in but] for side in (was, now)]
            # Parts that are equal in both versions cancel out; a version may have no other parts.
            return [
                scan(name, files, types) if files else pl.LazyFrame(schema=of)
                for files, of in zip(kept, schema, strict=True)
            ]

        before, after = tables(but=same)
        key = used = self.key or declared_key(self.project.root, path, now[0].file)
        scratch = reading_folder(self.project.root)
        try:
            counts = compare_rows(before, after, key, path, scratch)
        except DataError:
            if self.key:
                raise
            used, counts = (), compare_rows(before, after, (), path, scratch)  # declared, but not true
        whole = tables(but=set())
        stats = describe(whole[0]), describe(whole[1])
        columns = _columns(stats[0].columns, stats[1].columns)
        return TableDiff(
            stats[0].rows, stats[1].rows, counts.added, counts.removed, counts.changed, used, columns
        )


def _size(wanted: RequestedOutput) -> int | None:
    return wanted.output.size if wanted.part is None else None


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[tuple[str, Change], ...]:
    found: list[tuple[str, Change]] = []
    for path in sorted({*before, *after}):
        if path not in before:
            found.append((path, "added"))
        elif path not in after:
            found.append((path, "removed"))
        elif before[path] != after[path]:
            found.append((path, "changed"))
    return tuple(found)


def _columns(before: Iterable[ColumnStats], after: Iterable[ColumnStats]) -> tuple[ColumnDiff, ...]:
    was, now = {column.name: column for column in before}, {column.name: column for column in after}
    found = []
    for name in [*was, *(name for name in now if name not in was)]:
        one, other = was.get(name), now.get(name)
        if one is None:
            found.append(ColumnDiff(name, "added", None, other))
        elif other is None:
            found.append(ColumnDiff(name, "removed", one, None))
        else:
            found.append(ColumnDiff(name, "same" if one.dtype == other.dtype else "retyped", one, other))
    return tuple(found)
