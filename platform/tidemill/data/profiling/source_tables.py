"""Opens the table that a project is made of: files here or in an object store, or a table of a database."""

import os
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.data.profiling.database_tables import read_database
from tidemill.data.profiling.object_stores import fetch_table, is_object_store
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.common_types import under_each_other
from tidemill.data.tables.csv_headers import plain_names, separator_of
from tidemill.data.tables.folders_of_tables import is_part, refuse_table_format
from tidemill.data.tables.frames import is_csv, open_table, opening, table_files
from tidemill.data.tables.scanning import scan_csv_as_text
from tidemill.errors import DataError, UsageError

__all__ = ["absolute_address", "open_source"]

_KINDS = (
    ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz", ".arrow",
    ".feather", ".ipc", ".parquet", ".pq",
)  # fmt: skip
_PARQUET = (".parquet", ".pq")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_SHOWN = 5


def absolute_address(address: str, folder: Path) -> str:
    """Return an address that means the same in every folder.

    Raises:
        UsageError: it contains a password, which would go into git, or names no table.

    >>> absolute_address("sqlite:///shop.db::orders", Path("/srv"))
    'sqlite:////srv/shop.db::orders'
    >>> absolute_address("../shop/orders.csv", Path("/srv/models"))
    '/srv/shop/orders.csv'
    """
    if "://" not in address:
        path = folder / address
        plain = Path(os.path.normpath(path))
        return str(plain if plain.resolve() == path.resolve() else path)  # `..` after a link is elsewhere
    if is_object_store(address):
        return address
    if "::" not in address:
        raise UsageError(
            f"--data {address} names no table",
            hint="add it after two colons: sqlite:///shop.db::orders; a file is s3://bucket/orders.csv",
        )
    if re.match(r"[^:]+://[^/@]*:[^/@]+@", address):
        raise UsageError(
            "--data has a password in it, and would be written into params.yaml, which goes into git",
            hint="leave it out, and give it to the database's driver: PGPASSWORD or ~/.pgpass for Postgres",
        )
    found = re.fullmatch(r"((?:sqlite(?:\+\w+)?|duckdb):///)([^/].*)", address)
    return f"{found[1]}{folder / found[2]}" if found else address


def open_source(address: str, folder: Path, scratch: Path, whole: Collection[str] = ()) -> pl.LazyFrame:
    """Open a table lazily; what is elsewhere is first copied here, in pieces, and CSV stays text.

    The fields of objects, as JSON lines and parquet have them, become columns of their own: ``total`` of
    ``order`` becomes ``order_total``.

    Args:
        address: path of a CSV, parquet, JSON lines or Arrow file, of a folder of such files, a pattern, all
            of these in an object store (``s3://bucket/orders``), or ``<SQLAlchemy address>::<table>``.
        folder: relative paths begin here.
        scratch: a folder for what is copied.
        whole: columns of objects that stay what they are.

    Raises:
        DataError: there is no such table, or it cannot be read.
        UsageError: the address is not one.
    """
    if is_object_store(address):
        copy = fetch_table(address, scratch)
        try:
            table = _of_files(copy)
        except DataError as error:  # whose copy nobody knows
            raise DataError(str(error).replace(str(copy), address), hint=error.hint) from error
    elif "://" in address:
        return read_database(absolute_address(address, folder), scratch / "rows.parquet")
    else:
        table = _of_files(folder / address)
    # Many programs write the number of the row as a column without a name.
    table = table.drop("") if "" in table.collect_schema() else table
    return _with_fields(table, set(whole))


def _with_fields(table: pl.LazyFrame, whole: set[str]) -> pl.LazyFrame:
    """Return a table with the fields of its objects as columns; one whose name is taken leaves them whole.

    >>> nested = pl.LazyFrame({"n": [1], "order": [{"total": 2.5, "by": {"age": 31}}]})
    >>> _with_fields(nested, set()).collect().to_dicts()
    [{'n': 1, 'order_total': 2.5, 'order_by_age': 31}]
    """
    schema = table.collect_schema()
    columns = list[pl.Expr]()
    for name, dtype in schema.items():
        column = pl.col(literal_name(name))
        fields = {f"{name}_{field.name}": field.name for field in getattr(dtype, "fields", ())}
        if name in whole or not fields or len({*schema, *fields}) < len(schema) + len(fields):
            whole.add(name)
            columns.append(column)
        else:
            columns += [column.struct.field(field).alias(flat) for flat, field in fields.items()]
    if schema.keys() <= whole:
        return table
    return _with_fields(table.select(columns), whole)


def _of_files(path: Path) -> pl.LazyFrame:
    folder = path if path.is_dir() else None
    if folder is not None:
        path = _pattern(folder)
    opened = _csv if is_csv(path) else _parquet if path.suffix.lower() in _PARQUET else open_table
    return opened(path) if folder is None else _with_folders(path, folder, opened)


def _csv(path: Path) -> pl.LazyFrame:
    """Open CSV files as text; their columns may stand in another order in each, between other separators."""
    files = table_files(path)
    with opening(path):
        tables = [scan_csv_as_text([file], separator=separator_of(file)) for file in files]
        return _with_equal_names(files, [_plainly_named(table) for table in tables])


def _parquet(path: Path) -> pl.LazyFrame:
    """Open parquet files, which must have the same columns, in whatever order."""
    files = table_files(path)
    with suppress(pa.ArrowException, OSError):  # a broken one: opening it says so
        _check_columns(files, [pq.read_schema(str(file)).names for file in files])
    return open_table(path)


def _plainly_named(table: pl.LazyFrame) -> pl.LazyFrame:
    names = table.collect_schema().names()
    return table.rename(dict(zip(names, plain_names(names), strict=True)))


def _with_equal_names(files: Sequence[Path], tables: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows of all tables.

    Raises:
        DataError: two do not have the same columns, or not the same kind of values in one.
    """
    columns = [table.collect_schema().names() for table in tables]
    _check_columns(files, columns)
    return under_each_other(files, tables)


def _check_columns(files: Sequence[Path], columns: Sequence[Sequence[str]]) -> None:
    names = columns[0]
    for file, there in zip(files[1:], columns[1:], strict=True):
        if missing := [name for name in names if name not in there]:
            raise _other_columns(files[0], missing, file)
        if more := [name for name in there if name not in names]:
            raise _other_columns(file, more, files[0])


def _other_columns(has: Path, names: Sequence[str], lacks: Path) -> DataError:
    listed = ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")
    return DataError(
        f"{has} has a column {listed} that {lacks} lacks",
        hint="write the same columns into each file: one that is empty there is enough",
    )


def _with_folders(path: Path, folder: Path, opened: Callable[[Path], pl.LazyFrame]) -> pl.LazyFrame:
    """Return a table with the columns that folders are named by, as in ``day=2024-01-31/part.parquet``."""
    files = table_files(path)
    said = [_named_by_folders(file, folder) for file in files]
    if not said[0] or any(one.keys() != said[0].keys() for one in said):
        return opened(path)
    tables = []
    with opening(path):
        for file, one in zip(files, said, strict=True):
            table = opened(file)
            there = table.collect_schema()
            more = [pl.lit(value, pl.String).alias(name) for name, value in one.items() if name not in there]
            tables.append(table.with_columns(more))
        return _with_equal_names(files, tables)


def _named_by_folders(file: Path, folder: Path) -> dict[str, str | None]:
    """Return the columns that the folders of a file name.

    >>> _named_by_folders(Path("/t/shop=a%20b/day=__HIVE_DEFAULT_PARTITION__/p.csv"), Path("/t"))
    {'shop': 'a b', 'day': None}
    """
    pairs = [part.partition("=") for part in file.relative_to(folder).parts[:-1] if "=" in part[1:]]
    return {name: None if value == _NO_VALUE else unquote(value) for name, _, value in pairs}


def _pattern(folder: Path) -> Path:
    """Return what the files of the only kind of table in a folder are found by.

    Raises:
        DataError: there are tables of several kinds, or none.
    """
    paths = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
    refuse_table_format(str(folder), paths)
    names = [path for path in paths if is_part(path)]
    ends = {name[-len(kind) :] for name in names for kind in _KINDS if name.lower().endswith(kind)}
    if len(ends) != 1:
        what = "files of several kinds: " + ", ".join(sorted(ends)) if ends else "no file of a table"
        raise DataError(
            f"{folder} has {what}",
            hint="put parquet, CSV or JSON lines files of one kind in it, or name some by a pattern, as "
            f"'{folder / '*.csv'}'",
        )
    return folder / "**" / f"*{ends.pop()}"
