"""Publish the output of a finished job atomically, with a manifest that describes it."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.errors import DataError, UsageError
from tidemill.scoring.execution.batch_rows import output_schema
from tidemill.scoring.execution.fragment_worker import write_table
from tidemill.scoring.execution.staging import Record, Staging, is_file, is_part_of
from tidemill.scoring.input.table_places import Place, reaching
from tidemill.scoring.scoring_job import Job

__all__ = [
    "is_published",
    "is_publishing",
    "manifest_of",
    "missing_features",
    "publish",
    "published",
    "rejects_place",
    "require_free",
]

_MANIFEST, _SUCCESS, _REJECTS = "manifest.json", "_SUCCESS", "_rejects.ndjson"
_CHUNK = 16 * 2**20
_MERGED_ROWS = 131_072


def published(output: Place) -> dict[str, Any] | None:
    """Return the manifest of a complete output, or None if there is none.

    Raises:
        DataError: the manifest is broken.
    """
    whole = output if is_file(output) else output.child(_SUCCESS)
    content = _beside(output, _MANIFEST).read()
    if content is None or not whole.exists():
        return None
    try:
        return dict(json.loads(content))
    except ValueError as error:
        raise DataError(
            f"{_beside(output, _MANIFEST).text} is broken: {error}", hint="remove the output, and score again"
        ) from error


def is_published(staging: Staging, job: Job) -> bool:
    """Return whether a job was killed after it published its output: only its records are left then."""
    manifest = published(staging.output)
    if manifest is None or manifest["id"] != job.id:
        return False
    return not (is_file(staging.output) and staging.parts.names())


def is_publishing(output: Place, job: Job) -> bool:
    """Return whether a job was killed while it published, after the check of the existing output."""
    content = _beside(output, _MANIFEST).read()
    try:
        return content is not None and bool(json.loads(content)["id"] == job.id)
    except (ValueError, KeyError, TypeError):
        return False


def require_free(output: Place, overwrite: bool, job: Job | None = None) -> None:
    """Raise if a new output at this place would destroy something.

    Args:
        output: the place.
        overwrite: whether an earlier output of batch scoring may be replaced.
        job: whose parts may lie there.

    Raises:
        UsageError: something is there that must not be replaced, or only with ``overwrite``.
    """
    if not output.exists():
        return
    with reaching(output):
        folder = bool(output.files.isdir(output.path))
    if folder == is_file(output):
        raise UsageError(
            f"{output.text} is a {'folder' if folder else 'file'}",
            hint="an output that ends in .parquet or .csv is a file, any other a folder",
        )
    names = set(output.names()) - {"_scoring"} if folder else {output.name}
    if job is not None:
        names -= {name for name in names if is_part_of(job, name)}
    if not names:
        return
    if not overwrite:
        raise UsageError(f"{output.text} exists already", hint="name another output, or --overwrite it")
    if (_MANIFEST not in names) if folder else not _beside(output, _MANIFEST).exists():
        raise UsageError(
            f"{output.text} was not written by batch scoring, and is not overwritten",
            hint="name another output, or remove it yourself",
        )


def publish(staging: Staging, job: Job, records: Mapping[int, Record], manifest: dict[str, Any]) -> None:
    """Publish the output; after a kill at any moment, it can be called again.

    Raises:
        DataError: there is no room for it, or the place cannot be reached.
    """
    output = staging.output
    parts = [record.part for _, record in sorted(records.items()) if record.part]
    try:
        if is_file(output):
            _publish_file(staging, job, parts, manifest)
        elif output.local is not None:
            _publish_folder(staging, parts, manifest)
        else:
            _publish_objects(staging, parts, manifest)
        shutil.rmtree(staging.base.path) if output.local is not None else staging.base.remove()
    except OSError as error:
        raise DataError(
            f"{output.text} cannot be written: {error.strerror or error}",
            hint="free space there; --resume goes on with what is finished",
        ) from error


def manifest_of(job: Job, records: Mapping[int, Record], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of an output.

    Args:
        job: what was scored.
        records: of its fragments.
        about: further facts, such as how long it took.
    """
    at = job.at.isoformat() if job.at else None
    return {
        "id": job.id,
        "model": job.model,
        "version": job.version,
        **about,
        "features": {
            "from": job.mode,
            "names": list(job.features),
            "service": job.service,
            "definition": job.definition,
            "at_column": job.at_column,
            "at": at,
            "missing": missing_features(job),
        },
        "input": [{"address": file.address, "bytes": file.size, "mark": file.mark} for file in job.files],
        "columns": {field.name: str(field.type) for field in output_schema(job)},
        "rows": sum(record.rows for record in records.values()),
        "scored": sum(record.rows - record.rejected for record in records.values()),
        "rejected": sum(record.rejected for record in records.values()),
        "parts": [
            {"name": record.part, "rows": record.rows - record.rejected, "bytes": record.size}
            for _, record in sorted(records.items())
        ],
        "started_at": job.started_at.isoformat(),
        "code": job.code,
    }


def missing_features(job: Job) -> list[str]:
    """Return the features that no file of the input has, as rows may leave them out."""
    return [name for name in job.features if job.mode == "columns" and name not in job.schema.names]


def _publish_folder(staging: Staging, named: list[str], manifest: dict[str, Any]) -> None:
    """Add the missing files beside the parts, then rename the folder in one step."""
    output, parts, replaced = staging.output.local, staging.parts.local, staging.base.child("replaced").local
    assert output is not None
    assert parts is not None
    assert replaced is not None
    if parts.exists():
        for file in parts.iterdir():  # leftovers of workers of killed runs
            if file.name.startswith(".") or (file.name.startswith("part-") and file.name not in named):
                file.unlink()
        _write_beside(staging, Place(str(parts), str(parts), staging.output.files), manifest)
        if output.exists() and not replaced.exists():
            output.rename(replaced)
        output.parent.mkdir(parents=True, exist_ok=True)
        parts.rename(output)


def _publish_objects(staging: Staging, parts: list[str], manifest: dict[str, Any]) -> None:
    """Remove the earlier output, and write the marker of completeness last."""
    output = staging.output
    names = set(output.names())
    if (before := _beside(output, _MANIFEST).read()) is not None and json.loads(before)["id"] != manifest[
        "id"
    ]:
        output.child(_SUCCESS).remove()
    for name in sorted(names - {_SUCCESS, _MANIFEST, "_scoring", *parts}):
        output.child(name).remove()
    _write_beside(staging, output, manifest)
    output.child(_SUCCESS).write(b"")


def _publish_file(staging: Staging, job: Job, parts: list[str], manifest: dict[str, Any]) -> None:
    """Merge the parts into one file, and move it to its place."""
    output, merged = staging.output, f"merged.{job.format}"
    if len(parts) != 1:
        places = [staging.parts.child(part) for part in parts]
        staging.publish_part(merged, lambda path: _merge(path, job, places))
        parts = [merged]
    if rejects := _rejects(staging):
        _beside(output, _REJECTS).write(rejects)
    else:
        _beside(output, _REJECTS).remove()
    _beside(output, _MANIFEST).write(_pretty(manifest))
    source = staging.parts.child(parts[0])
    if output.local is not None and source.local is not None:
        source.local.replace(output.local)
    else:
        with reaching(output):
            output.files.copy(source.path, output.path)


def _merge(path: Path, job: Job, parts: list[Place]) -> None:
    if job.format == "csv":
        write_table(path, job, iter(()))
        header = path.stat().st_size
        with path.open("ab") as whole:
            for part in parts:
                with part.files.open(part.path, "rb") as stream:
                    stream.seek(header)
                    shutil.copyfileobj(stream, whole, _CHUNK)
        return
    write_table(path, job, (table for part in parts for table in _tables(part, job)))


def _tables(part: Place, job: Job) -> Iterator[pa.Table]:
    with part.files.open(part.path, "rb") as stream:
        for batch in pq.ParquetFile(stream).iter_batches(_MERGED_ROWS, use_threads=False):
            yield pa.Table.from_batches([batch]).cast(output_schema(job))


def _write_beside(staging: Staging, folder: Place, manifest: dict[str, Any]) -> None:
    rejects = _rejects(staging)
    if rejects:
        folder.child(_REJECTS).write(rejects)
    folder.child(_MANIFEST).write(_pretty(manifest))
    if folder.local is not None:
        folder.child(_SUCCESS).write(b"")


def rejects_place(output: Place) -> Place:
    """Return the place of an output's rejected rows, if there are any."""
    return _beside(output, _REJECTS)


def _rejects(staging: Staging) -> bytes:
    folder = staging.base.child("rejects")
    return b"".join(folder.child(name).read() or b"" for name in folder.names() if name.endswith(".ndjson"))


def _beside(output: Place, name: str) -> Place:
    return output.sibling(f"{output.name}.{name.lstrip('_')}") if is_file(output) else output.child(name)


def _pretty(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, indent=2).encode() + b"\n"
