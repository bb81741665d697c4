"""Converts moments in time zones that Polars does not know, such as +05:30, to UTC.

Polars knows the zones of the tz database, whose fixed offsets are whole hours. It refuses a table with
another one, and panics (an exception that is not even an `Exception`) where it reads such a file.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
import pyarrow as pa

from tidemill.data.tables.column_names import literal_names

__all__ = ["in_utc", "scan_in_utc"]

_WHOLE_HOURS = re.compile(r"[+-]\d\d(:?00)?")
_SWITCH = "POLARS_IGNORE_TIMEZONE_PARSE_ERROR"
"""Variable that makes Polars accept unknown zones, so that they can be converted (from its error message)."""


def in_utc(table: pa.Table) -> pa.Table:
    """Return an Arrow table whose columns of moments are in zones that Polars knows: others become UTC.

    >>> moments = pa.array([0], pa.timestamp("us", "+05:30"))
    >>> in_utc(pa.table({"at": moments})).schema.field("at").type
    TimestampType(timestamp[us, tz=UTC])
    """
    for index, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and _is_unknown(field.type.tz):
            utc = pa.timestamp(field.type.unit, "UTC")
            table = table.set_column(index, field.with_type(utc), table.column(index).cast(utc))
    return table


def scan_in_utc(scan: Callable[[], pl.LazyFrame], schemas: Iterable[pa.Schema]) -> pl.LazyFrame:
    """Return what ``scan`` opens, with moments in zones that Polars does not know converted to UTC.

    Args:
        scan: opens the files.
        schemas: of the files.
    """
    strange = {
        field.name: field.type
        for schema in schemas
        for field in schema
        if any(_is_unknown(zone) for zone in _zones(field.type))
    }
    if not strange:
        return scan()
    os.environ[_SWITCH] = "1"
    moments = [name for name, dtype in strange.items() if pa.types.is_timestamp(dtype)]
    return scan().with_columns(pl.col(name).dt.convert_time_zone("UTC") for name in literal_names(moments))


def _zones(dtype: pa.DataType) -> Iterator[str | None]:
    if pa.types.is_timestamp(dtype):
        yield dtype.tz
    elif pa.types.is_nested(dtype):
        for number in range(dtype.num_fields):
            yield from _zones(dtype.field(number).type)


def _is_unknown(zone: str | None) -> bool:
    if zone is None or _WHOLE_HOURS.fullmatch(zone):
        return False
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return True
    return False
