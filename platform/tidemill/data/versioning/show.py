"""Describes one data version: its files, and the size, schema and columns of its tables.

What is on record is shown without an engine; the rest is read from the content, and put on record.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tidemill.data.expectations.expectations_file import expectations_digest, report_path
from tidemill.data.repository.git import commits
from tidemill.data.repository.revisions import Output, outputs_at, repository, resolve
from tidemill.data.tables.table_stats import is_table
from tidemill.data.versioning.committed_report import committed_report, parse_report
from tidemill.data.versioning.content_records import content_key, read_record
from tidemill.data.versioning.shown_version import Shown, ShownOutput
from tidemill.errors import VersionNotFound
from tidemill.project import ProjectFolder

__all__ = ["Shown", "ShownOutput", "show"]

_Tell = Callable[[str, str, int | None, int | None], None]
_Described = tuple[tuple[ShownOutput, ...], Mapping[str, Any] | None]


def show(
    project: ProjectFolder,
    revision: str = "HEAD",
    path: str | None = None,
    tell: _Tell | None = None,
    *,
    patience: float | None = None,
) -> Shown:
    """Return the files of a version, and the schemas of its tables.

    Args:
        project: the project.
        revision: anything that names a commit.
        path: only this output, folder, or file in a folder, then with the statistics of every column.
        tell: the callback for progress.
        patience: seconds to wait for another process that holds DVC's lock, if content must be fetched;
            default: as for making a version.

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
    described = _on_record(project, commit, outputs) if path is None else None
    if described is None:
        from tidemill.data.versioning.content_reading import describe_contents

        described = describe_contents(project, commit, outputs, path, tell, patience)
    [(_, time, message)] = commits(root, "--max-count=1", commit)
    return Shown(commit, time, message, *described)


def _on_record(project: ProjectFolder, commit: str, outputs: Mapping[str, Output]) -> _Described | None:
    """Return what the records say of a version's outputs and report, or None if one has no record."""
    types, found = expectations_digest(project.root), []
    for output in outputs.values():
        shown = ShownOutput(output.path, output.md5, output.size, output.files)
        key = content_key(project.root, commit, output)
        if key is not None and (output.is_folder or is_table(output.path)):
            record = read_record(project, key, output.path, types)
            if record is None:
                return None
            shown = replace(shown, size=record.size, rows=record.rows, schema=record.schema)
        found.append(shown)
    report = report_path(project.root)
    declared = outputs.get(report)
    if declared is None or not declared.kept:
        return tuple(found), committed_report(project.root, commit, report)
    record = read_record(project, declared.md5, report, types)
    return None if record is None else (tuple(found), parse_report(record.files[0].read_bytes()))
