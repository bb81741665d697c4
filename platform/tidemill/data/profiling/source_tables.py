"""Opens the table that a project is made of: files here or in an object store, or a table of a database."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.profiling.object_stores import fetch_table, is_object_store
from tidemill.data.tables.csv_headers import plain_names, separator_of
from tidemill.data.tables.frames import BATCH_ROWS, RowWriter, is_csv, keep, open_table, opening, table_files
from tidemill.data.tables.scanning import scan_csv_as_text
from tidemill.errors import DataError, UsageError

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

__all__ = ["absolute_address", "open_source"]

_SQL_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
}


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
    found = re.fullmatch(r"(sqlite(?:\+\w+)?:///)([^/].*)", address)
    return f"{found[1]}{folder / found[2]}" if found else address


def open_source(address: str, folder: Path, scratch: Path) -> pl.LazyFrame:
    """Open a table lazily; what is elsewhere is first copied here, in pieces, and CSV stays text.

    Args:
        address: path of a CSV, parquet, JSON lines or Arrow file, of a folder of such files, a pattern, all
            of these in an object store (``s3://bucket/orders``), or ``<SQLAlchemy address>::<table>``.
        folder: relative paths begin here.
        scratch: a folder for what is copied.

    Raises:
        DataError: there is no such table, or it cannot be read.
        UsageError: the address is not one.
    """
    if is_object_store(address):
        table = _of_files(fetch_table(address, scratch))
    elif "://" in address:
        return _copied(absolute_address(address, folder), scratch / "rows.parquet")
    else:
        table = _of_files(folder / address)
    # Many programs write the number of the row as a column without a name.
    return table.drop("") if "" in table.collect_schema() else table


def _of_files(path: Path) -> pl.LazyFrame:
    if path.is_dir() and not any(path.rglob("*.parquet")):
        path = _pattern(path)
    if not is_csv(path):
        return open_table(path)
    files = table_files(path)
    with opening(path):
        table = scan_csv_as_text(files, separator=separator_of(files[0]))
        names = table.collect_schema().names()
    return table.rename(dict(zip(names, plain_names(names), strict=True)))


def _pattern(folder: Path) -> Path:
    """Return the pattern of the only kind of table in a folder."""
    kinds = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".ndjson", ".jsonl", ".arrow", ".feather", ".pq")
    found = [kind for kind in kinds if any(folder.rglob(f"*{kind}"))]
    if len(found) != 1:
        what = "files of several kinds: " + ", ".join(found) if found else "no file of a table"
        raise DataError(f"{folder} has {what}", hint="put parquet, CSV or JSON lines files of one kind in it")
    return folder / "**" / f"*{found[0]}"


def _copied(address: str, target: Path) -> pl.LazyFrame:
    from sqlalchemy.exc import SQLAlchemyError

    url, _, name = address.rpartition("::")
    try:
        engine = _engine(url)
        try:
            table = _table(engine, name)
            _copy_rows(engine, table, target)
        finally:
            engine.dispose()
    except (SQLAlchemyError, PolarsError) as error:
        raise DataError(
            f"{address} cannot be read: {str(error).splitlines()[0]}",
            hint="check the address, the table's name and that you may read it",
        ) from error
    return pl.scan_parquet(target, glob=False)


def _copy_rows(engine: "Engine", table: "Table", target: Path) -> None:
    from sqlalchemy import select

    writer = RowWriter(target, pl.Schema({column.name: _type(column) for column in table.columns}))
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            rows = connection.execute(select(table)).yield_per(BATCH_ROWS // 10)
            for batch in rows.partitions():
                writer.write(_frame(batch, writer))
        writer.close()
        keep([(writer.part, target)])
    finally:
        writer.drop()


def _engine(url: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    from tidemill.files.sqlite_urls import sqlite_file

    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise DataError(f"{file} cannot be read: there is no such file", hint="check the path")
    address = make_url(url)
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    try:
        return create_engine(address)
    except ModuleNotFoundError as error:
        raise DataError(
            f"{address.drivername} needs the package {error.name}, which is not installed",
            hint="pip install 'tidemill[postgres]' for Postgres, or the driver of your database",
        ) from error


def _table(engine: "Engine", name: str) -> "Table":
    from sqlalchemy import MetaData, Table, inspect
    from sqlalchemy.exc import NoSuchTableError

    schema, _, plain = name.rpartition(".")
    try:
        return Table(plain, MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError as error:
        there = sorted(inspect(engine).get_table_names(schema=schema or None))
        raise DataError(
            f"the database has no table {name!r}",
            hint=f"it has: {', '.join(there[:10]) or 'none'}",
        ) from error


def _type(column: Any) -> pl.DataType:
    from datetime import date, datetime
    from decimal import Decimal

    try:
        kind = column.type.python_type
    except NotImplementedError:
        return pl.String()
    known = _SQL_TYPES | {Decimal: pl.Float64(), datetime: pl.Datetime("us"), date: pl.Date()}
    if kind is datetime and getattr(column.type, "timezone", False):
        return pl.Datetime("us", "UTC")
    return known.get(kind, pl.String())


def _frame(rows: Any, writer: RowWriter) -> pl.DataFrame:
    schema = writer.columns
    columns = dict(zip(schema, zip(*rows, strict=True), strict=True))
    return pl.DataFrame(
        [
            pl.Series(name, [None if v is None else str(v) for v in values], pl.String)
            if schema[name] == pl.String
            else pl.Series(name, list(values), strict=False).cast(schema[name], strict=True)
            for name, values in columns.items()
        ]
    )
