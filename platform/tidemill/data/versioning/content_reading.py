"""Reads the tables of a data version from their content, and puts their shapes on record."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tidemill.data.expectations.expectations_file import expectations_digest, report_path
from tidemill.data.expectations.row_keys import declared_types
from tidemill.data.repository.contents import RequestedOutput, VersionFiles, fetch_files, select_outputs
from tidemill.data.repository.dvc_command import Tell, ignore_progress
from tidemill.data.repository.revisions import DataVersion, Output, outputs_at
from tidemill.data.tables.summarising import summarise
from tidemill.data.tables.table_stats import is_table
from tidemill.data.tables.version_tables import describe, reading, scan, shape
from tidemill.data.versioning.committed_report import committed_report, parse_report
from tidemill.data.versioning.content_records import (
    ContentRecord,
    content_key,
    read_record,
    read_summaries,
    write_record,
    write_summaries,
)
from tidemill.data.versioning.exclusive import PATIENCE
from tidemill.data.versioning.shown_version import ShownOutput
from tidemill.errors import DataError
from tidemill.project import ProjectFolder

__all__ = ["describe_contents", "record_shapes"]


def describe_contents(
    project: ProjectFolder,
    commit: str,
    outputs: dict[str, Output],
    path: str | None = None,
    tell: Tell | None = None,
    patience: float | None = None,
) -> tuple[tuple[ShownOutput, ...], Mapping[str, Any] | None]:
    """Return the outputs of a version with the shapes of their tables, and its report of stage validate.

    Arguments and errors are those of `tidemill.data.versioning.show.show`.
    """
    tell, patience = tell or ignore_progress, PATIENCE if patience is None else patience
    wanted = (
        [RequestedOutput(one) for one in outputs.values()]
        if path is None
        else select_outputs(outputs, [path], commit)
    )
    found = []
    for number, one in enumerate(wanted):
        tell("reading", one.path, number, len(wanted))
        found.append(_look(project, commit, one, path is not None, tell, patience))
    return tuple(found), _report(project, commit, outputs, tell, patience)


def record_shapes(project: ProjectFolder, version: DataVersion, tell: Tell = ignore_progress) -> None:
    """Put the shapes of the tables of a new version on record; only content without a record is read."""
    types, report = expectations_digest(project.root), report_path(project.root)
    for output in outputs_at(project, version.revision).values():
        key = content_key(project.root, version.revision, output)
        here = (project.root / output.path).exists()  # content that is elsewhere only is not fetched for this
        if key is None or not here or _is_on_record(project, key, output.path, types):
            continue
        if output.path == report:
            _report(project, version.revision, {report: output}, tell, PATIENCE)
        else:
            _look(project, version.revision, RequestedOutput(output), False, tell, PATIENCE, keep=True)


def _is_on_record(project: ProjectFolder, key: str, path: str, types: str) -> bool:
    record = read_record(project, key, path, types)
    if record is None or record.rows is None:
        return record is not None
    return read_summaries(project, key, path, types) is not None


def _look(
    project: ProjectFolder,
    commit: str,
    wanted: RequestedOutput,
    in_full: bool,
    tell: Tell,
    patience: float,
    *,
    keep: bool = False,
) -> ShownOutput:
    output = wanted.output
    size, files = (output.size, output.files) if wanted.part is None else (None, None)
    bare = ShownOutput(wanted.path, output.md5, size, files)
    if not is_table(wanted.path) and not output.is_folder:
        return bare
    try:
        with fetch_files(project, commit, [wanted], tell, patience) as found, reading(wanted.path):
            shown = _shape(project, wanted, bare, found, in_full)
            if wanted.part is None:
                _record(project, commit, output, shown, found)
                if shown.rows is not None and (in_full or keep):
                    _keep_summaries(project, commit, output, found)
            return shown
    except DataError as error:
        if in_full:
            raise
        return ShownOutput(wanted.path, output.md5, size, files, note=str(error))


def _shape(
    project: ProjectFolder, wanted: RequestedOutput, bare: ShownOutput, found: VersionFiles, in_full: bool
) -> ShownOutput:
    if not found.contents:
        return bare
    name, suffixes = found.contents[0].path, {PurePosixPath(c.path).suffix for c in found.contents}
    if len(suffixes) != 1 or not is_table(name):
        return bare
    types = declared_types(project.root, wanted.output.path)
    table = scan(name, [content.file for content in found.contents], types)
    rows, schema = shape(table)
    stats = describe(table) if in_full else None
    here = sum(content.file.stat().st_size for content in found.contents)
    md5 = bare.md5 if wanted.part is None else found.contents[0].md5
    return ShownOutput(bare.path, md5, bare.size or here, bare.files, rows, schema, stats)


def _report(
    project: ProjectFolder, commit: str, outputs: Mapping[str, Output], tell: Tell, patience: float
) -> Mapping[str, Any] | None:
    path = report_path(project.root)
    output = outputs.get(path)
    if output is None or not output.kept:
        return committed_report(project.root, commit, path)
    try:
        with fetch_files(project, commit, [RequestedOutput(output)], tell, patience) as found:
            shown = ShownOutput(output.path, output.md5, output.size, output.files)
            _record(project, commit, output, shown, found)
            return parse_report(found.contents[0].file.read_bytes())
    except (DataError, OSError):
        return None


def _record(
    project: ProjectFolder, commit: str, output: Output, shown: ShownOutput, found: VersionFiles
) -> None:
    key = content_key(project.root, commit, output)
    if key is not None:
        files = [content.file for content in found.contents if content.cached]
        files += [_in_cache(files[0], output.md5)] if files and output.is_folder else []
        record = ContentRecord(shown.size, shown.rows, shown.schema, tuple(files))
        types = expectations_digest(project.root)
        write_record(project, key, output.path, types, record)


def _keep_summaries(project: ProjectFolder, commit: str, output: Output, found: VersionFiles) -> None:
    """Keep how the columns of a table are spread."""
    key = content_key(project.root, commit, output)
    if key is not None:
        types = declared_types(project.root, output.path)
        table = scan(found.contents[0].path, [content.file for content in found.contents], types)
        digest = expectations_digest(project.root)
        write_summaries(project, key, output.path, digest, summarise(table))


def _in_cache(neighbour: Path, md5: str) -> Path:
    """Return where DVC's cache has the list of a folder's files, which lies beside those files."""
    return neighbour.parent.parent / md5[:2] / md5[2:]
