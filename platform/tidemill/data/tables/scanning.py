"""Opens files of tables lazily, without wildcards in paths and without changing the digits of ids."""

import codecs
import glob
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.data.tables.column_names import literal_names
from tidemill.data.tables.common_types import under_each_other
from tidemill.data.tables.csv_headers import check_files, check_header, opened
from tidemill.data.tables.repeated_keys import refuse_repeated_fields
from tidemill.data.tables.time_zones import scan_in_utc
from tidemill.data.tables.uneven_rows import row_ends
from tidemill.errors import DataError

__all__ = ["scan_csv", "scan_csv_as_text", "scan_ipc", "scan_ndjson", "scan_parquet"]

_MOST_DIGITS = 38
_NO_ARROW_FILES = {b"\xff\xff\xff\xff": "an Arrow stream", b"FEA1": "of Feather's first version"}
"""How files begin that have the name of an Arrow file."""
_UNKNOWN = (
    pa.types.is_interval,
    pa.types.is_union,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
    pa.types.is_run_end_encoded,
)
"""Whether a type is one that Polars does not have."""
_UNKNOWN_IN_ARROW = (*_UNKNOWN, pa.types.is_decimal256)
"""Of Arrow's own files, where a wide decimal of few digits is another type; in parquet it is not."""
_ZERO_AHEAD = r"^[+-]?0\d"
"""Matches text with leading zeros that a number would lose, as in 007."""


def scan_csv(
    files: Sequence[Path],
    *,
    separator: str = ",",
    dates: bool = False,
    types: Mapping[str, pl.DataType] | None = None,
) -> pl.LazyFrame:
    """Read CSV files lazily, and infer the type of each column from all of its values.

    Numbers with leading zeros, and whole numbers that do not fit into 64 bits, stay text: they are ids.

    Args:
        files: one file, or the parts of a table, whose paths are taken literally.
        separator: between two values.
        dates: whether dates and moments in ISO 8601 are read as such, not as text.
        types: column → its declared type. A column that would be read as another type is read as text, in
            which no digit is lost; the caller converts it to the declared type.

    Raises:
        DataError: a file is a folder, is not in UTF-8, has a column twice, or a row with more or fewer
            values than its header.
        PolarsError: a file is not CSV.
    """
    empty_lines = _check(files, separator)
    inferred = _scan(files, separator, {}, dates=dates, infer_schema_length=None)
    schema = inferred.collect_schema()
    numeric = [name for name, dtype in schema.items() if dtype.is_numeric()]
    text = {name for name in numeric if schema[name] == pl.Int128}
    declared = types or {}
    text |= {name for name, dtype in declared.items() if name in schema and schema[name] != dtype}
    if looked := [name for name in numeric if name not in text and name not in declared]:
        values = _scan(files, separator, dict.fromkeys(looked, pl.String()), infer_schema=False).select(
            literal_names(looked)
        )
        found = values.select(pl.all().str.contains(_ZERO_AHEAD).any()).collect(engine="streaming")
        text |= {name for name in looked if found[name].item()}
    overrides = dict.fromkeys(sorted(text), pl.String())
    table = _scan(files, separator, overrides, dates=dates, infer_schema_length=None) if text else inferred
    return _without_empty_lines(table) if empty_lines else table


def scan_csv_as_text(files: Sequence[Path], *, separator: str = ",") -> pl.LazyFrame:
    """Read CSV files lazily, every column as text.

    Raises:
        DataError: a file is a folder, is not in UTF-8, has a column twice, or a row with more or fewer
            values than its header.
        PolarsError: a file is not CSV.
    """
    empty_lines = _check(files, separator)
    table = _scan(files, separator, {}, infer_schema=False)
    return _without_empty_lines(table) if empty_lines else table


def scan_ndjson(files: Sequence[Path]) -> pl.LazyFrame:
    """Read files of newline-delimited JSON lazily; of one with a mark of UTF-8, a copy without it on disk.

    Those whose name ends with ``.gz`` are unpacked.

    A field that a file lacks is null there; one that is a whole number in a file and another number in
    another is a number.

    Raises:
        DataError: a file is a folder, or a line has a field twice.
        OSError: a file cannot be read.
        PolarsError: a file is not in this format.
    """
    check_files(files)
    for file in files:
        try:
            refuse_repeated_fields(file)
        except (EOFError, zlib.error) as error:
            raise DataError(f"{file} cannot be read: {error}", hint="check that it is complete") from error
    tables = [_scan_ndjson(file) for file in files]
    if len({tuple(table.collect_schema().items()) for table in tables}) > 1:
        return pl.concat(tables, how="diagonal_relaxed")
    return pl.concat(tables)


def _scan_ndjson(file: Path) -> pl.LazyFrame:
    if _has_mark(file):  # which Polars takes for a part of the first line
        with opened(file) as stream, tempfile.TemporaryFile() as copy:
            stream.seek(len(codecs.BOM_UTF8))
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            return pl.scan_ndjson(copy, infer_schema_length=None)  # which keeps it open
    literal = glob.escape(str(file))  # this reader of Polars always reads wildcards
    return pl.scan_ndjson(literal, infer_schema_length=None)


def _has_mark(file: Path) -> bool:
    """Return whether a file begins with a mark of UTF-8, as programs on Windows write it."""
    with opened(file) as stream:
        return stream.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def scan_parquet(files: Sequence[Path]) -> pl.LazyFrame:
    """Read parquet files lazily, without columns from folder names.

    A column may be of several types of one kind, see `tidemill.data.tables.common_types`.

    Raises:
        DataError: a file is a folder, or a column is of another kind in each file, of too many digits, or of
            a type that Polars does not have.
        OSError: a file cannot be read.
        PolarsError: a file is not in this format.
    """
    check_files(files)
    return _of_one_schema(
        files,
        lambda some: pl.scan_parquet(list(some), glob=False, hive_partitioning=False),
        _parquet_schema,
        _UNKNOWN,
    )


def scan_ipc(files: Sequence[Path]) -> pl.LazyFrame:
    """Read Arrow (Feather) files lazily; columns as in `scan_parquet`.

    Raises:
        DataError: as `scan_parquet`; or a file is an Arrow stream, or of Feather's first version.
        OSError: a file cannot be read.
        PolarsError: a file is not in this format.
    """
    check_files(files)
    for file in files:
        with file.open("rb") as stream:
            found = _NO_ARROW_FILES.get(stream.read(4))
        if found is not None:
            raise DataError(
                f"{file} is {found}, not an Arrow file", hint="write it as parquet, or as Feather"
            )
    return _of_one_schema(
        files,
        lambda some: pl.scan_ipc(list(some), glob=False),
        lambda path: pa.ipc.open_file(path).schema,
        _UNKNOWN_IN_ARROW,
    )


def _of_one_schema(
    files: Sequence[Path],
    scan: Callable[[Sequence[Path]], pl.LazyFrame],
    read: Callable[[str], pa.Schema],
    unknown: Sequence[Callable[[pa.DataType], bool]],
) -> pl.LazyFrame:
    schemas = [schema for file in files for schema in _schema(file, read)]
    for file, schema in zip(files, schemas, strict=False):
        _refuse_unknown_types(file, schema, unknown)
    types = [dict(zip(schema.names, schema.types, strict=True)) for schema in schemas]
    same_names = len(types) == len(files) and all(one.keys() == types[0].keys() for one in types)
    if not same_names or all(one == types[0] for one in types):
        return scan_in_utc(lambda: scan(files), schemas)
    scans = [
        scan_in_utc(partial(scan, [file]), [schema]) for file, schema in zip(files, schemas, strict=True)
    ]
    return under_each_other(files, scans)


def _refuse_unknown_types(
    file: Path, schema: pa.Schema, unknown: Sequence[Callable[[pa.DataType], bool]]
) -> None:
    """Refuse columns of types that Polars does not have: it panics, which is not even an `Exception`."""
    for field in schema:
        kinds = (field.type, *_inner_types(field.type))
        if any(map(_has_too_many_digits, kinds)):
            raise DataError(
                f"{file}: {field.name} is of type {field.type}, and decimals have at most 38 digits here",
                hint="write it as text, or as a decimal of fewer digits",
            )
        if any(is_of(kind) for kind in kinds for is_of in unknown):
            raise DataError(
                f"{file}: {field.name} is of type {field.type}, which is not read here",
                hint="write it as a number, as text or as a duration, or leave the column out",
            )


def _parquet_schema(path: str) -> pa.Schema:
    """Return the schema of a parquet file; Arrow itself takes its intervals for bytes."""
    with pq.ParquetFile(path) as file:
        schema, leaves = file.schema_arrow, map(file.schema.column, range(len(file.schema)))
        spans = {leaf.path for leaf in leaves if leaf.converted_type == "INTERVAL"}
    for number, name in enumerate(schema.names):
        if name in spans or any(path.startswith(f"{name}.") for path in spans):
            schema = schema.set(number, pa.field(name, pa.month_day_nano_interval()))
    return schema


def _inner_types(kind: pa.DataType) -> Iterator[pa.DataType]:
    if pa.types.is_nested(kind):
        for number in range(kind.num_fields):
            yield kind.field(number).type
            yield from _inner_types(kind.field(number).type)


def _has_too_many_digits(kind: pa.DataType) -> bool:
    """Return whether a type is a decimal that Polars does not have: it panics."""
    return bool(pa.types.is_decimal(kind)) and kind.precision > _MOST_DIGITS


def _check(files: Sequence[Path], separator: str) -> bool:
    """Refuse files that Polars would take for another table; return whether there are empty lines."""
    check_files(files)
    empty_lines = False
    for file in files:
        check_header(file, separator)
        found = row_ends(file, separator)
        if found.problem is not None:
            raise DataError(
                f"{file} cannot be read: {found.problem}",
                hint="correct that; a value with a separator in it stands in quotes",
            )
        empty_lines |= found.empty_lines
    return empty_lines


def _without_empty_lines(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return a table without the rows of nulls that Polars makes of empty lines.

    In a table with one column, an empty line is a gap.
    """
    one = len(table.collect_schema()) == 1
    return table if one else table.filter(pl.any_horizontal(pl.all().is_not_null()))


def _with_quotes(names: Sequence[str]) -> list[str]:
    """Return names as CSV means them: Polars keeps the second of two quotes that stand for one."""
    return [name.replace('""', '"') for name in names]


def _schema(file: Path, read: Callable[[str], pa.Schema]) -> Iterator[pa.Schema]:
    with suppress(pa.ArrowException):  # it is broken: Polars says so when it is read
        yield read(str(file))


def _scan(
    files: Sequence[Path],
    separator: str,
    overrides: Mapping[str, pl.DataType],
    *,
    dates: bool = False,
    infer_schema: bool = True,
    infer_schema_length: int | None = None,
) -> pl.LazyFrame:
    return pl.scan_csv(
        list(files),
        separator=separator,
        glob=False,
        schema_overrides=overrides,
        try_parse_dates=dates,
        with_column_names=_with_quotes,
        infer_schema=infer_schema,
        infer_schema_length=infer_schema_length,
        infer_schema_files=max(1, len(files)),
    )
