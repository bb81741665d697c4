"""Copies a table of a database into a parquet file, a batch at a time, with every digit of its values."""

import json
import warnings
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.profiling.duckdb_tables import read_duckdb
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.frames import BATCH_ROWS, RowWriter, keep
from tidemill.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

__all__ = ["read_database"]

_TYPES: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    datetime: pl.Datetime("us"),
    date: pl.Date(),
    timedelta: pl.Duration("us"),
}
"""Decimals become text, which no digit of an id is lost in; like CSV, it is read as numbers later."""


def read_database(address: str, target: Path) -> pl.LazyFrame:
    """Copy a table and open the copy lazily.

    Args:
        address: ``<SQLAlchemy address>::<table>``, with a whole path.
        target: the file to write.

    Raises:
        DataError: there is no such table, or it cannot be read.
    """
    from sqlalchemy.exc import DataError as ValueOutOfRange
    from sqlalchemy.exc import SQLAlchemyError

    url, _, name = address.rpartition("::")
    if url.startswith("duckdb:///"):
        return read_duckdb(Path(url.removeprefix("duckdb:///")), name, target)
    try:
        engine = _engine(url)
        try:
            table = _table(engine, name)
            declared = {column.name: _type(column) for column in table.columns}
            any_type = engine.dialect.name == "sqlite"  # whose columns hold any value, whatever they declare
            _copy_rows(engine, table, target, {} if any_type else declared)
        finally:
            engine.dispose()
        copied = pl.scan_parquet(target, glob=False)
        return _as_declared(copied, declared) if any_type else copied
    except ValueOutOfRange as error:  # moments beyond the years 1 to 9999, such as infinity
        raise DataError(
            f"{address} cannot be read: {str(error).splitlines()[0]}",
            hint="name a view in which such values are null, as nullif(ends, 'infinity')",
        ) from error
    except (SQLAlchemyError, PolarsError) as error:
        raise DataError(
            f"{address} cannot be read: {str(error).splitlines()[0]}",
            hint="check the address, the table's name and that you may read it",
        ) from error


def _copy_rows(engine: "Engine", table: "Table", target: Path, types: dict[str, pl.DataType]) -> None:
    from sqlalchemy import CHAR, func, select
    from sqlalchemy.types import NullType

    if not types:
        for column in table.columns:
            column.type = NullType()  # no value is converted, rounded or refused
    values = [  # databases fill text of a fixed length up with spaces
        func.rtrim(column).label(column.name) if isinstance(column.type, CHAR) else column
        for column in table.columns
    ]
    schema = {column.name: types.get(column.name, pl.String()) for column in table.columns}
    writer = RowWriter(target, pl.Schema(schema))
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            rows = connection.execute(select(*values)).yield_per(BATCH_ROWS // 10)
            for batch in rows.partitions():
                writer.write(_frame(batch, writer))
        writer.close()
        keep([(writer.part, target)])
    finally:
        writer.drop()


def _as_declared(table: pl.LazyFrame, declared: dict[str, pl.DataType]) -> pl.LazyFrame:
    """Return columns of text as they are declared where all of their values are so; others stay text."""
    wider = {name: pl.Float64() for name, dtype in declared.items() if dtype == pl.Int64}
    for types in (declared, wider):
        reads = {name: _read(name, dtype) for name, dtype in types.items() if dtype != pl.String}
        schema = table.collect_schema()
        fails = [
            (pl.col(literal_name(name)).is_not_null() & read.is_null()).any().alias(name)
            for name, read in reads.items()
            if schema[name] == pl.String
        ]
        if fails:
            failing = table.select(fails).collect(engine="streaming").row(0, named=True)
            table = table.with_columns(
                reads[name].alias(name) for name, any_of in failing.items() if not any_of
            )
    return table


def _read(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column's text as SQLite's own values are written; null where it is something else."""
    text = pl.col(literal_name(name))
    if dtype == pl.Boolean:
        return text.replace_strict({"1": True, "0": False}, default=None, return_dtype=pl.Boolean)
    if dtype == pl.Date:
        return text.str.to_date("%Y-%m-%d", strict=False)
    if isinstance(dtype, pl.Datetime):
        return text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
    return text.cast(dtype, strict=False)


def _engine(url: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import NoSuchModuleError

    from tidemill.files.sqlite_urls import sqlite_file

    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise DataError(f"{file} cannot be read: there is no such file", hint="check the path")
    try:
        address = make_url(url)
    except ValueError as error:  # SQLAlchemy's, of a port that is no number
        raise DataError(
            f"{url} is no address of a database: {error}",
            hint="write it as postgresql://user@host:5432/database::table",
        ) from error
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    try:
        return create_engine(address)
    except NoSuchModuleError as error:
        raise DataError(
            f"{address.drivername} is no database that SQLAlchemy knows here",
            hint="install the package that brings its dialect, or export the table as parquet",
        ) from error
    except ModuleNotFoundError as error:
        raise DataError(
            f"{address.drivername} needs the package {error.name}, which is not installed",
            hint="pip install 'tidemill[postgres]' for Postgres, or the driver of your database",
        ) from error


def _table(engine: "Engine", name: str) -> "Table":
    from sqlalchemy import MetaData, Table, inspect
    from sqlalchemy.exc import NoSuchTableError, SAWarning

    there = inspect(engine)
    schema, _, plain = name.rpartition(".")
    if schema and name in (*there.get_table_names(), *there.get_view_names()):
        schema, plain = "", name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # of unknown types, whose values become text
            return Table(plain, MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError as error:
        others = sorted(there.get_table_names(schema=schema or None))
        raise DataError(
            f"the database has no table {name!r}",
            hint=f"it has: {', '.join(others[:10]) or 'none'}",
        ) from error


def _type(column: Any) -> pl.DataType:
    try:
        kind = column.type.python_type
    except NotImplementedError:
        return pl.String()
    if kind is datetime and getattr(column.type, "timezone", False):
        return pl.Datetime("us", "UTC")
    return _TYPES.get(kind, pl.String())


def _frame(rows: Any, writer: RowWriter) -> pl.DataFrame:
    schema = writer.columns
    columns = dict(zip(schema, zip(*rows, strict=True), strict=True))
    return pl.DataFrame(
        [
            pl.Series(name, [None if v is None else _text(v) for v in values], pl.String)
            if schema[name] == pl.String
            else pl.Series(name, list(values), strict=False).cast(schema[name], strict=True)
            for name, values in columns.items()
        ]
    )


def _text(value: object) -> str:
    """Return a value as text.

    >>> _text(Decimal("1E-12")), _text(0.1), _text(b"a"), _text([Decimal("1.10"), None])
    ('0.000000000001', '0.1', '61', '[1.1, null]')
    """
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | memoryview):
        return value.hex()
    return (
        json.dumps(value, ensure_ascii=False, default=_in_json)
        if isinstance(value, list | dict)
        else str(value)
    )


def _in_json(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)
