"""Keeps the shape of each versioned table in a small file, so that showing a version needs no engine.

Content never changes under its MD5, so a record holds as long as DVC's cache has that content undamaged:
inode, size and time of each cached file are compared, as DVC itself does.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tidemill.data.repository.git import git_try
from tidemill.data.repository.revisions import Output
from tidemill.data.tables.column_summary import ColumnSummary
from tidemill.files.atomic import replace_file
from tidemill.project import ProjectFolder

__all__ = [
    "ContentRecord",
    "content_key",
    "read_record",
    "read_summaries",
    "write_record",
    "write_summaries",
]

_FORMAT = 1


@dataclass(frozen=True)
class ContentRecord:
    """What is known of the content of one versioned file or folder."""

    size: int | None
    """Bytes."""
    rows: int | None
    """Of a table."""
    schema: Mapping[str, str] | None
    """Of a table: type by column."""
    files: tuple[Path, ...]
    """The content in DVC's cache; nothing if git has it."""


def content_key(root: Path, commit: str, output: Output) -> str | None:
    """Return the name of the record of an output's content, or None where neither DVC nor git keeps it."""
    if output.kept:
        return output.md5
    blob = git_try(root, "rev-parse", "--quiet", "--verify", f"{commit}:{output.path}")
    return blob.stdout.strip() if blob.returncode == 0 else None


def read_record(project: ProjectFolder, key: str, path: str, types: str) -> ContentRecord | None:
    """Return the record of a content, or None if there is none that holds.

    Args:
        project: the project.
        key: MD5 of the content, or the id of its object in git.
        path: path relative to the project, whose suffix gives the format.
        types: digest of what declares the types of the columns.
    """
    try:
        kept = json.loads(_file(project, key).read_bytes())
        if [kept["format"], kept["path"], kept["types"]] != [_FORMAT, path, types]:
            return None
        files = [(project.root / name, mark) for name, mark in kept["files"]]
        if any(_mark(file) != mark for file, mark in files):
            return None
        return ContentRecord(kept["size"], kept["rows"], kept["schema"], tuple(file for file, _ in files))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, of another release, or content that the cache does not have any more


def write_record(project: ProjectFolder, key: str, path: str, types: str, record: ContentRecord) -> None:
    """Keep the record of a content, where the project can be written to; arguments as for `read_record`."""
    kept = {
        "format": _FORMAT,
        "path": path,
        "types": types,
        "size": record.size,
        "rows": record.rows,
        "schema": None if record.schema is None else dict(record.schema),
        "files": list(_marked(project.root, record.files)),
    }
    with suppress(OSError):  # without the record the next look takes longer, and that is all
        replace_file(_file(project, key), json.dumps(kept), flush=False)


def read_summaries(
    project: ProjectFolder, key: str, path: str, types: str
) -> dict[str, ColumnSummary] | None:
    """Return the summaries of a table's columns, or None if there are none; arguments as for `read_record`.

    They hold for the content of that MD5, whether or not the cache still has it.
    """
    try:
        kept = json.loads(_summaries_file(project, key).read_bytes())
        if [kept["format"], kept["path"], kept["types"]] != [_FORMAT, path, types]:
            return None
        return {name: ColumnSummary(**each) for name, each in kept["columns"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, or of another release


def write_summaries(
    project: ProjectFolder, key: str, path: str, types: str, columns: Mapping[str, ColumnSummary]
) -> None:
    """Keep the summaries of a table's columns, where the project can be written to."""
    plain = {name: each.as_dict() for name, each in columns.items()}
    kept = {"format": _FORMAT, "path": path, "types": types, "columns": plain}
    with suppress(OSError):  # without them two versions are compared without them, and that is all
        replace_file(_summaries_file(project, key), json.dumps(kept), flush=False)


def _summaries_file(project: ProjectFolder, key: str) -> Path:
    return project.home / "contents" / f"{key}.columns.json"


def _file(project: ProjectFolder, key: str) -> Path:
    return project.home / "contents" / f"{key}.json"


def _marked(root: Path, files: Iterable[Path]) -> Iterable[tuple[str, list[int]]]:
    for file in files:
        inside = file.is_relative_to(root)
        yield str(file.relative_to(root) if inside else file), _mark(file)


def _mark(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_ino, state.st_size, state.st_mtime_ns]
