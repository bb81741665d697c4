"""Counts and removes one subject's rows in Parquet, CSV, JSON lines and Arrow files."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from tidemill.data.tables.scanning import scan_ipc, scan_parquet
from tidemill.errors import DataError
from tidemill.files.atomic import replacing
from tidemill.privacy.subject import Subject

__all__ = ["SUFFIXES", "count_rows", "files_below", "format_of", "mentions", "remove_rows"]

SUFFIXES = {
    **dict.fromkeys((".parquet", ".pq", ".parq"), "parquet"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".ndjson", ".jsonl"), "ndjson"),
    **dict.fromkeys((".arrow", ".feather"), "arrow"),
}
"""File extension → format, for the formats that can be searched."""

_BATCH = 65_536
_CHUNK = 1 << 20


def format_of(path: Path) -> str | None:
    """Return the format of a file, from its name or else its first bytes; None if it is not supported.

    >>> format_of(Path("data/flights.parquet")), format_of(Path("notes.txt"))
    ('parquet', None)
    """
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError:
        return None
    if start[:4] == b"PAR1":
        return "parquet"
    return "arrow" if start == b"ARROW1" else None


def files_below(place: Path) -> list[tuple[Path, Mapping[str, str]]]:
    """Return the files at or below ``place``, each with the columns from its folder names (``key=value``)."""
    if place.is_file():
        return [(place, {})]
    found: list[tuple[Path, Mapping[str, str]]] = []
    for path in sorted(place.rglob("*")) if place.is_dir() else []:
        if path.is_file() and not path.name.startswith("."):
            folders = (part.partition("=") for part in path.relative_to(place).parts[:-1] if "=" in part)
            found.append((path, {unquote(name): unquote(value) for name, _, value in folders}))
    return found


def count_rows(
    path: Path, subject: Subject, constants: Mapping[str, str] | None = None, kind: str | None = None
) -> int:
    """Return how many rows of a file are the subject's, reading only the columns of the key.

    Args:
        path: the file.
        subject: the subject whose rows are counted.
        constants: columns and values from the names of the file's folders.
        kind: the format, if the name does not give it.

    Raises:
        DataError: the file cannot be read.
    """
    kind = kind or format_of(path)
    with _failing("read", path):
        if kind == "csv":
            return sum(1 for _, hit in _csv_rows(path, subject, constants or {}) if hit)
        if kind == "ndjson":
            return sum(1 for _, hit in _lines(path, subject, constants or {}) if hit)
        if kind is None:
            return 0
        wanted = [column for column in subject.values if column not in (constants or {})]
        return sum(int(mask.sum()) for _, mask in _batches(path, kind, subject, constants or {}, wanted))


def remove_rows(path: Path, subject: Subject, constants: Mapping[str, str] | None = None) -> int:
    """Rewrite a file without the subject's rows and replace it in one step; return how many were removed.

    A file without such rows is not changed. If the file is a link into DVC's cache, the cached content stays
    and the link is replaced by a new file.

    Raises:
        DataError: the file cannot be read or written; it is not changed.
    """
    there = count_rows(path, subject, constants)
    if there == 0:
        return 0
    kind, constants = format_of(path), constants or {}
    with _failing("rewritten", path), replacing(path) as new:
        if kind == "csv":
            with new.open("w", newline="", encoding="utf-8") as out:
                writer = csv.writer(out, dialect=_dialect(path))
                writer.writerows(row for row, hit in _csv_rows(path, subject, constants) if not hit)
        elif kind == "ndjson":
            with new.open("wb") as out:
                out.writelines(line for line, hit in _lines(path, subject, constants) if not hit)
        elif kind == "parquet":
            try:
                _rewrite_parquet(path, subject, constants, new)
            except pa.ArrowNotImplementedError:  # some nested columns
                _rewrite_whole(path, kind, subject, constants, new)
        else:
            _rewrite_whole(path, "arrow", subject, constants, new)
    return there


def mentions(path: Path, subject: Subject) -> bool:
    """Return whether the bytes of a file of any format contain the subject's value or pseudonym.

    Raises:
        DataError: the file cannot be read.
    """
    needles = [text.encode() for text in subject.first_texts]
    overlap = max(map(len, needles)) - 1
    with _failing("read", path), path.open("rb") as file:
        tail = b""
        while chunk := file.read(_CHUNK):
            window = tail + chunk
            if any(needle in window for needle in needles):
                return True
            tail = window[-overlap:]
    return False


def _rewrite_parquet(path: Path, subject: Subject, constants: Mapping[str, str], new: Path) -> None:
    source = pq.ParquetFile(path)
    groups = source.metadata.num_row_groups
    codec = source.metadata.row_group(0).column(0).compression.lower() if groups else "zstd"
    writer: Any = pq.ParquetWriter(
        new, source.schema_arrow, compression="none" if codec == "uncompressed" else codec
    )
    with writer:
        for batch, mask in _batches(path, "parquet", subject, constants, None):
            kept = batch.filter(pa.array(~mask))
            if kept.num_rows:
                writer.write_batch(kept)


def _rewrite_whole(path: Path, kind: str, subject: Subject, constants: Mapping[str, str], new: Path) -> None:
    """Rewrite a file in memory with Polars, for the formats that PyArrow cannot rewrite in batches."""
    frame = (scan_parquet([path]) if kind == "parquet" else scan_ipc([path])).collect()
    keys = frame[[column for column in subject.values if column not in constants]]
    kept = frame.filter(~_mask(keys, frame.height, subject, constants))
    if kind == "parquet":
        kept.write_parquet(new)
    else:
        kept.write_ipc(new)


def _batches(
    path: Path, kind: str, subject: Subject, constants: Mapping[str, str], columns: list[str] | None
) -> Iterator[tuple[pa.RecordBatch, pl.Series]]:
    """Yield the batches of a file, each with a mask of the subject's rows; nothing if the key is missing."""
    if kind == "parquet":
        source = pq.ParquetFile(path)
        names = source.schema_arrow.names
        if not subject.values.keys() <= {*names, *constants}:
            return
        batches = source.iter_batches(_BATCH, columns=columns)
    else:
        source = pa.ipc.open_file(pa.memory_map(str(path)))
        if not subject.values.keys() <= {*source.schema.names, *constants}:
            return
        batches = (source.get_batch(number) for number in range(source.num_record_batches))
    keys = [column for column in subject.values if column not in constants]
    for batch in batches:
        frame = pl.DataFrame({column: pl.from_arrow(batch.column(column)) for column in keys})
        yield batch, _mask(frame, batch.num_rows, subject, constants)


def _mask(keys: pl.DataFrame, rows: int, subject: Subject, constants: Mapping[str, str]) -> pl.Series:
    """Return a mask of the subject's rows; ``keys`` has no columns if folder names give the whole key."""
    standing = {
        name: pl.repeat(value, rows, dtype=pl.String, eager=True)
        for name, value in constants.items()
        if name in subject.values
    }
    full = pl.DataFrame({**keys.to_dict(), **standing})
    expression = subject.rows(full.schema)
    assert expression is not None
    return full.select(expression.alias("hit")).to_series()


def _csv_rows(path: Path, subject: Subject, constants: Mapping[str, str]) -> Iterator[tuple[list[str], bool]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, dialect=_dialect(path))
        header = next(rows, None)
        if header is None:
            return
        yield header, False
        known = subject.values.keys() <= {*header, *constants}
        places = {name: header.index(name) for name in subject.values if name in header}
        for row in rows:
            record = {**constants, **{name: row[at] for name, at in places.items() if at < len(row)}}
            yield row, known and _is_subject(subject, record)


def _is_subject(subject: Subject, record: Mapping[str, str]) -> bool:
    return all(
        record.get(column) in (value, subject.pseudonyms[column]) or _same_number(record.get(column), value)
        for column, value in subject.values.items()
    )


def _same_number(text: str | None, value: str) -> bool:
    try:
        return text is not None and float(text) == float(value)
    except ValueError:
        return False


def _dialect(path: Path) -> type[csv.Dialect]:
    with path.open("rb") as file:
        first = file.readline()

    class Found(csv.excel):
        delimiter = max((",", ";", "\t", "|"), key=lambda mark: first.count(mark.encode()))
        lineterminator = "\r\n" if first.endswith(b"\r\n") else "\n"

    return Found


def _lines(path: Path, subject: Subject, constants: Mapping[str, str]) -> Iterator[tuple[bytes, bool]]:
    with path.open("rb") as file:
        for line in file:
            record = orjson.loads(line) if line.strip() else {}
            full = {**constants, **record} if isinstance(record, dict) else {}
            yield line, bool(full) and subject.within(full)


@contextmanager
def _failing(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        PolarsError,
        pa.ArrowException,
        csv.Error,
        orjson.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        raise DataError(
            f"{path} cannot be {doing}: {str(error).strip().splitlines()[0]}",
            hint="the file is unchanged: correct the cause, then `tidemill data erase --resume`",
        ) from error
