"""Read the rows of a piece as Arrow tables; unreadable rows are rejected with a reason."""

import io
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from tidemill.data.tables.repeated_keys import repeated_key
from tidemill.data.tables.time_zones import in_utc
from tidemill.errors import DataError
from tidemill.scoring.input.fragments import Fragment, Piece, open_file
from tidemill.scoring.input.nested_columns import flat, nested, value_at
from tidemill.scoring.input.table_places import SourceFile
from tidemill.scoring.input.text_splitter import cut, opened

__all__ = ["BATCH_ROWS", "Batch", "Columns", "Reject", "read"]

BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Reject:
    """A row that was not scored."""

    file: str
    row: int
    """Its place in the file, from 0 (a header does not count); what is written counts from 1."""
    reason: str
    values: Any
    """Its content: its columns, or its text where it could not be parsed."""


@dataclass(frozen=True)
class Columns:
    """The columns to read from every file."""

    schema: pa.Schema
    """Names as we use them, and types."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Our name → the name in the files, where they differ."""

    def in_file(self, name: str) -> str:
        """Return a column's name in the files."""
        return self.renamed.get(name, name)


@dataclass(frozen=True)
class Batch:
    """Some rows of one file."""

    file: str
    table: pa.Table
    rows: npt.NDArray[np.int64]
    """Number of each row in the file."""
    unread: list[Reject] = field(default_factory=list)
    """Rejected rows between them."""


def read(
    files: Sequence[SourceFile], fragment: Fragment, columns: Columns, batch_rows: int = BATCH_ROWS
) -> Iterator[Batch]:
    """Yield the rows of a fragment, in their order, in batches.

    Raises:
        DataError: a file can no longer be read, or not as when the work was planned.
    """
    number, stream = -1, cast("BinaryIO", io.BytesIO())
    source = stream
    for piece in fragment.pieces:
        file = files[piece.file]
        try:
            if piece.file != number:
                stream.close()
                number, stream = piece.file, open_file(file.address)
                source = stream if file.format == "parquet" else opened(stream, file.address)
            for batch in _READERS[file.format](source, piece, file, columns, batch_rows):
                yield _with_partitions(batch, file, columns)
        except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{file.address} cannot be read: {error}",
                hint="if it was changed meanwhile, --restart begins again",
            ) from error
    stream.close()


def _parquet(
    stream: BinaryIO, piece: Piece, file: SourceFile, columns: Columns, batch_rows: int
) -> Iterator[Batch]:
    source = pq.ParquetFile(stream, pre_buffer=True)
    there = set(source.schema_arrow.names)
    paths = {name: file.path(columns.in_file(name)) for name in columns.schema.names}
    paths = {name: path for name, path in paths.items() if path[0] in there}
    row = piece.first_row
    for part in source.iter_batches(
        batch_rows, piece.row_groups, list({path[0]: 0 for path in paths.values()}), use_threads=False
    ):
        table = flat(pa.Table.from_batches([part]), paths)
        table = table.cast(pa.schema([columns.schema.field(name) for name in paths]))
        yield Batch(file.address, in_utc(table), np.arange(row, row + part.num_rows))
        row += part.num_rows


def _csv(stream: BinaryIO, piece: Piece, file: SourceFile, columns: Columns, _: int) -> Iterator[Batch]:
    stream.seek(piece.start)
    content = stream.read(piece.end - piece.start)
    content, places, unread = _decodable(content, piece, file)
    if not content:
        yield Batch(file.address, columns.schema.empty_table(), np.empty(0, np.int64), unread)
        return
    refused: list[Any] = []

    def refuse(row: Any) -> str:
        refused.append(row)
        return "skip"

    names = list(file.header)
    wanted = [columns.in_file(name) for name in columns.schema.names if columns.in_file(name) in names]
    table = pacsv.read_csv(
        io.BytesIO(content),
        _whole(pacsv.ReadOptions, content, column_names=names),
        pacsv.ParseOptions(delimiter=file.separator, newlines_in_values=True, invalid_row_handler=refuse),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            include_columns=wanted,
        ),
    )
    rows = np.arange(table.num_rows + len(refused))
    rows = (places if places is not None and len(places) == len(rows) else rows) + piece.first_row
    numbers = [row.number - 1 for row in refused]
    for number, row in zip(numbers, refused, strict=True):
        said = f"the row has {row.actual_columns} values where the header has {row.expected_columns}"
        unread.append(Reject(file.address, int(rows[number]), said, row.text))
    yield Batch(file.address, _ours(table, columns), np.delete(rows, numbers), unread)


def _ndjson(stream: BinaryIO, piece: Piece, file: SourceFile, columns: Columns, _: int) -> Iterator[Batch]:
    stream.seek(piece.start)
    content = stream.read(piece.end - piece.start)
    content = content if piece.start else content.removeprefix(BOM_UTF8)
    schema = pa.schema(
        [(columns.in_file(f.name), f.type) for f in columns.schema if f.name not in dict(file.partitions)]
    )
    rows = np.arange(piece.first_row, piece.first_row + piece.rows)
    paths = {name: file.path(name) for name in schema.names}
    try:
        table = pajson.read_json(
            io.BytesIO(content),
            _whole(pajson.ReadOptions, content),
            pajson.ParseOptions(
                explicit_schema=nested([(paths[one.name], one.type) for one in schema]),
                unexpected_field_behavior="ignore",
            ),
        )
        if table.num_rows == piece.rows:
            yield Batch(file.address, _ours(flat(table, paths), columns), rows)
            return
    except pa.ArrowInvalid:
        pass  # some line is invalid or has another type: find it line by line
    yield _line_by_line(content, piece, file, schema, columns)


def _line_by_line(
    content: bytes, piece: Piece, file: SourceFile, schema: pa.Schema, columns: Columns
) -> Batch:
    lines: list[dict[str, Any]] = []
    rows: list[int] = []
    unread: list[Reject] = []
    for number, line in enumerate(content.splitlines(), piece.first_row):
        if not line.strip():
            continue
        try:
            values = orjson.loads(line)
            if (name := repeated_key(line, values)) is not None:
                raise _WrongLine(f"the line has two fields {name!r}")
            lines.append({f.name: _typed(_value(values, file.path(f.name)), f) for f in schema})
            rows.append(number)
        except (ValueError, AttributeError, pa.ArrowException) as error:
            reason = str(error) if isinstance(error, _WrongLine) else "the line is not a JSON object"
            unread.append(Reject(file.address, number, reason, line.decode(errors="replace")))
    return Batch(
        file.address, _ours(pa.Table.from_pylist(lines, schema), columns), np.array(rows, np.int64), unread
    )


class _WrongLine(ValueError):
    """A value does not have its column's type, or a field is there twice."""


def _value(line: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(line, dict):
        raise ValueError
    try:
        return value_at(line, path)
    except TypeError as error:
        raise _WrongLine(str(error)) from error


def _typed(value: Any, column: pa.Field) -> Any:
    try:
        if isinstance(value, bool) and not pa.types.is_boolean(column.type):
            raise TypeError
        pa.scalar(value, column.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _WrongLine(
            f"{column.name}: {value!r} is not of type {column.type}, as in the first lines"
        ) from error
    return value


def _decodable(
    content: bytes, piece: Piece, file: SourceFile
) -> tuple[bytes, npt.NDArray[np.int64] | None, list[Reject]]:
    """Return the UTF-8 rows, their numbers in the piece (None: all), and the other rows."""
    try:
        content.decode()
    except UnicodeDecodeError:
        # a value may hold line ends
        rows = cut(io.BytesIO(content), quoted=True, block=1, separator=file.separator)
        lines = [content[row.start : row.end] for row in rows]
    else:
        return content, None, []
    sound, places, unread = [], [], []
    for place, line in enumerate(line for line in lines if line.strip(b"\r\n")):  # Arrow skips empty lines
        try:
            line.decode()
            sound.append(line)
            places.append(place)
        except UnicodeDecodeError:
            text = line.decode(errors="replace").strip()
            unread.append(Reject(file.address, piece.first_row + place, "the row is not in UTF-8", text))
    return b"".join(sound), np.array(places, np.int64), unread


def _ours(table: pa.Table, columns: Columns) -> pa.Table:
    here = [name for name in columns.schema.names if columns.in_file(name) in table.column_names]
    return table.select([columns.in_file(name) for name in here]).rename_columns(here)


def _with_partitions(batch: Batch, file: SourceFile, columns: Columns) -> Batch:
    """Add the columns from folder names, and those that this file lacks, and put all in order."""
    table, named = batch.table, dict(file.partitions)
    for column in columns.schema:
        if (given := columns.in_file(column.name)) in named:
            told = pa.repeat(pa.scalar(named[given], pa.string()), len(table))
            table = table.append_column(column.name, told)
        elif column.name not in table.column_names:
            table = table.append_column(column.name, pa.nulls(len(table), column.type))
    return Batch(batch.file, table.select(columns.schema.names), batch.rows, batch.unread)


def _whole(options: Callable[..., Any], content: bytes, **more: Any) -> Any:
    return options(use_threads=False, block_size=len(content) + 1, **more)


_READERS: dict[str, Callable[[BinaryIO, Piece, SourceFile, Columns, int], Iterator[Batch]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "ndjson": _ndjson,
}
