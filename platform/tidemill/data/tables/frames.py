"""Opens tables in files lazily, reads them in batches, and writes them in batches beside their final path."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from tidemill.data.tables.csv_headers import separator_of
from tidemill.data.tables.folders_of_tables import is_part
from tidemill.data.tables.scanning import scan_csv, scan_ipc, scan_ndjson, scan_parquet
from tidemill.errors import DataError
from tidemill.files.atomic import move_into_place
from tidemill.files.drafts import discard_draft, new_draft

__all__ = [
    "BATCH_ROWS",
    "RowWriter",
    "batches",
    "is_csv",
    "keep",
    "open_table",
    "opening",
    "table_files",
    "temporary_beside",
    "unreadable",
]

BATCH_ROWS = 250_000
"""Rows in one batch; it bounds the memory for files of any size."""

_CSV = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
_OTHER_WAYS = {
    ".json": "write one object a line, as .ndjson: `jq -c '.[]' table.json > table.ndjson`",
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
    ".ods": "save the sheet as CSV (UTF-8)",
    ".duckdb": "name a table of the database: duckdb:///shop.duckdb::orders",
    ".db": "name a table of the database, if it is one: sqlite:///shop.db::orders",
    ".sqlite": "name a table of the database: sqlite:///shop.sqlite::orders",
    ".zip": "unpack it; .csv.gz and .ndjson.gz are read as they are",
}


def open_table(path: Path, types: Mapping[str, pl.DataType] | None = None) -> pl.LazyFrame:
    """Open a parquet, CSV, newline-delimited JSON or Arrow file, a folder of parquet files, or a pattern.

    Args:
        path: the file, folder or pattern.
        types: column → declared type, for CSV: see `tidemill.data.tables.scanning.scan_csv`. Other kinds of
            file have types of their own.

    Raises:
        DataError: there is no such file, it is of another kind, or cannot be read.
    """
    files = table_files(path)
    suffixes = {_suffix(file) for file in files}
    if len(suffixes) > 1:
        raise DataError(
            f"{path} has files of different kinds: {', '.join(sorted(suffixes))}",
            hint="keep files of one format in a folder",
        )
    [suffix] = suffixes
    with opening(path):
        match suffix:
            case ".parquet" | ".pq":
                table = scan_parquet(files)
            case suffix if suffix in _CSV:
                table = scan_csv(files, separator=separator_of(files[0]), dates=True, types=types)
            case ".ndjson" | ".jsonl" | ".ndjson.gz" | ".jsonl.gz":
                table = scan_ndjson(files)
            case ".arrow" | ".feather" | ".ipc":
                table = scan_ipc(files)
            case _:
                raise DataError(
                    f"{path} has a format that cannot be read: {suffix or 'it has no suffix'}",
                    hint=_OTHER_WAYS.get(
                        suffix,
                        "write it as .parquet, .csv, .ndjson or .arrow; .csv.gz and .ndjson.gz are read, too",
                    ),
                )
        table.collect_schema()
    return table


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """Translate the errors of opening a table.

    Raises:
        DataError: it cannot be read.
    """
    try:
        yield
    except (OSError, PolarsError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a table that cannot be read: which line is wrong, and what to do.

    >>> print(unreadable(Path("t.csv"), PolarsError("invalid utf-8 sequence")).hint)
    save it as UTF-8: `iconv -f WINDOWS-1252 -t UTF-8` converts a file
    """
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "utf-8" in said.lower():
        return DataError(
            f"{path} cannot be read: it is not in UTF-8, but perhaps in Latin-1 or Windows-1252",
            hint="save it as UTF-8: `iconv -f WINDOWS-1252 -t UTF-8` converts a file",
        )
    if "data type mismatch for column" in said:
        return DataError(
            f"{path} cannot be read: its files differ in a type: {said.partition('mismatch for ')[2]}",
            hint="write that column with the same type into each file",
        )
    return DataError(
        f"{path} cannot be read: {said}",
        hint="check that it is complete, and that its suffix names its format",
    )


def is_csv(path: Path) -> bool:
    """Return whether a table is CSV, which has no types: a CSV file, or a pattern that matches such files."""
    return _suffix(path) in _CSV


def _suffix(file: Path) -> str:
    return "".join(file.suffixes[-2:] if file.suffix.lower() == ".gz" else file.suffixes[-1:]).lower()


def table_files(path: Path) -> list[Path]:
    """Return the files of ``path``: itself, the parquet files below a folder, or the matches of a pattern.

    Raises:
        DataError: there are no such files.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if is_part(str(file.relative_to(path))))
    elif path.exists():
        files = [path]
    else:
        # The part of the path that exists is literal, whatever characters it has.
        base = next(folder for folder in path.absolute().parents if folder.exists())
        pattern = str(path.absolute().relative_to(base))
        names = glob.glob(pattern, root_dir=base, recursive=True)  # noqa: PTH207
        files = sorted(base / name for name in names if is_part(name) or not is_part(pattern))
    if not files:
        raise DataError(
            f"{path} cannot be read: there is no such file",
            hint="check the path; what the stages write, `tidemill run` or `dvc repro` makes",
        )
    return files


def batches(table: pl.LazyFrame, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
    """Yield the rows of ``table`` in order, at most ``rows`` at a time; for an empty table, one empty frame.

    Raises:
        DataError: the file cannot be read to its end.

    >>> [frame.height for frame in batches(pl.LazyFrame({"a": range(5)}), rows=2)]
    [2, 2, 1]
    """
    given = False
    try:
        for found in table.collect_batches(chunk_size=rows, maintain_order=True):
            for frame in found.iter_slices(rows):
                given = True
                yield frame
    except (OSError, PolarsError) as error:
        raise DataError(
            f"the data cannot be read to its end: {error}",
            hint="check that the file is complete, and that its suffix names its format",
        ) from error
    if not given:
        yield pl.DataFrame(schema=table.collect_schema())


def temporary_beside(path: Path) -> Path:
    """Make an empty file beside ``path``, to be moved there when it is complete.

    Raises:
        DataError: its folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return new_draft(path)
    except OSError as error:
        raise _unwritable(path, error) from error


class RowWriter:
    """Writes frames of one schema into one parquet file, beside its final path until `keep` moves it."""

    def __init__(self, path: Path, schema: pl.Schema) -> None:
        """Open the file."""
        self.path = path
        self.columns = schema
        self.part = temporary_beside(path)
        self._schema = _arrow(pl.DataFrame(schema=schema)).schema
        try:
            self._file = pa.OSFile(str(self.part), "wb")
            self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        except (OSError, pa.ArrowException) as error:
            discard_draft(self.part)
            raise _unwritable(path, error) from error

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows.

        Raises:
            DataError: they cannot be written.
        """
        if frame.is_empty():
            return
        try:
            self._writer.write_table(_arrow(frame).cast(self._schema))
        except (OSError, pa.ArrowException) as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Finish the file, without moving it to its final path.

        Raises:
            DataError: it cannot be written.
        """
        try:
            self._writer.close()
            self._file.close()
        except (OSError, pa.ArrowException) as error:
            raise _unwritable(self.path, error) from error

    def drop(self) -> None:
        """Delete the file, unless it is at its final path already."""
        for half_written in (self._writer, self._file):
            with suppress(OSError, pa.ArrowException):  # a full disk was reported before
                half_written.close()
        self._writer.is_open = False  # or pyarrow tries once more
        discard_draft(self.part)


def keep(parts: Sequence[tuple[Path, Path]]) -> None:
    """Move finished files to their final paths, given as pairs of both.

    Raises:
        DataError: one cannot be moved.
    """
    for part, path in parts:
        try:
            move_into_place(part, path)
        except OSError as error:
            raise _unwritable(path, error) from error


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _unwritable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be written: {error}", hint="check that the disk has space and can be written"
    )
