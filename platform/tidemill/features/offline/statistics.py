"""Feast's feature monitoring: compute statistics of a source, and store them beside the repository."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
from feast import FileSource
from feast.data_source import DataSource

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name
from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import Address, locate
from tidemill.features.offline.file_publishing import alone
from tidemill.features.offline.parquet_sources import open_source
from tidemill.features.offline.parquet_writing import save
from tidemill.features.offline.pulling import SourceSelection, pull
from tidemill.features.private_feast import (
    MONITORING_DIR,
    MetricsCalculator,
    monitoring_parquet_meta,
    normalize_monitoring_row,
)

__all__ = ["change_rows", "find_rows", "latest_moment", "make_tables", "put_rows", "statistics"]

Row = dict[str, Any]

_TABLES = ("feature", "feature_view", "feature_service", "job")
_COUNTS = {
    "row_count",
    "null_count",
    "total_row_count",
    "total_features",
    "features_with_nulls",
    "total_feature_views",
}
_REAL = {"null_rate", "avg_null_rate", "max_null_rate", "mean", "stddev", "min_val", "max_val"}
_MOMENTS = {"computed_at", "max_event_timestamp", "started_at", "completed_at"}


def statistics(
    wanted: SourceSelection, kinds: Sequence[tuple[str, str]], repo: Path | None, bins: int, top: int
) -> list[Row]:
    """Return the statistics that Feast's calculator computes for each feature of a source.

    Args:
        wanted: The source and the span of time.
        kinds: Feature and ``numeric`` or ``categorical``.
        repo: The folder that a relative path starts at.
        bins: Number of bins of a histogram.
        top: How many of the most frequent values are listed.
    """
    table = pa.concat_tables(pull(wanted, repo, None))
    rows: list[Row] = MetricsCalculator(bins, top).compute_all(table.combine_chunks(), list(kinds))
    return rows


def latest_moment(source: DataSource, timestamp: str, repo: Path | None) -> datetime | None:
    """Return the latest timestamp of ``source``, in UTC; None if it has no rows.

    Raises:
        FeatureError: it cannot be read, or has no such column.
    """
    reading = open_source(source, repo)
    if timestamp not in reading.rows.collect_schema():
        raise FeatureError(
            f"{reading.where}: there is no column {timestamp!r}",
            hint="name the column with each row's moment in the source's timestamp_field",
        )
    with reading.unchanged():
        last = reading.rows.select(pl.col(literal_name(timestamp)).max()).collect()[timestamp][0]
    if isinstance(last, date) and not isinstance(last, datetime):
        last = datetime(last.year, last.month, last.day, tzinfo=UTC)
    return None if last is None else utc(last)


def make_tables(repo: Path | None) -> None:
    """Make the missing tables, empty."""
    for kind in _TABLES:
        _change(kind, repo, lambda rows: rows)


def put_rows(kind: str, rows: Sequence[Mapping[str, Any]], repo: Path | None) -> None:
    """Add ``rows`` to a table; one of the same primary key is replaced."""
    _, _, key = monitoring_parquet_meta(kind)

    def merged(old: list[Row]) -> list[Row]:
        by_key = {tuple(str(row.get(name)) for name in key): dict(row) for row in (*old, *rows)}
        return list(by_key.values())

    if rows:
        _change(kind, repo, merged)


def change_rows(kind: str, repo: Path | None, where: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Set the values ``new`` in all rows that have the values ``where`` (none: any)."""

    def changed(rows: list[Row]) -> list[Row]:
        return [{**row, **new} if _matches(row, where) else row for row in rows]

    _change(kind, repo, changed)


def find_rows(
    kind: str, repo: Path | None, where: Mapping[str, Any], start: date | None, end: date | None
) -> list[Row]:
    """Return the rows that have the values ``where`` (none: any), by date; moments as ISO 8601."""
    _, columns, _ = monitoring_parquet_meta(kind)
    rows = [row for row in _read(_table(kind, repo)) if _matches(row, where)]
    rows = [row for row in rows if start is None or (row["metric_date"] and row["metric_date"] >= start)]
    rows = [row for row in rows if end is None or (row["metric_date"] and row["metric_date"] <= end)]
    rows.sort(key=lambda row: row["metric_date"] or date.min)
    return [normalize_monitoring_row({name: row.get(name) for name in columns}) for row in rows]


def _matches(row: Row, where: Mapping[str, Any]) -> bool:
    return all(value is None or row.get(name) == value for name, value in where.items())


def _change(kind: str, repo: Path | None, how: Callable[[list[Row]], list[Row]]) -> None:
    address = _table(kind, repo)
    Path(address.path).parent.mkdir(parents=True, exist_ok=True)
    _, columns, _ = monitoring_parquet_meta(kind)
    schema = pa.schema([(name, _type_of(name)) for name in columns])
    with alone(address):
        rows = [{name: _plain(row.get(name), name) for name in columns} for row in how(_read(address))]
        save([pa.Table.from_pylist(rows, schema)], address, overwrite=True)


def _read(address: Address) -> list[Row]:
    if not address.exists():
        return []
    rows: list[Row] = pyarrow.parquet.read_table(address.path).to_pylist()
    return rows


def _table(kind: str, repo: Path | None) -> Address:
    name, _, _ = monitoring_parquet_meta(kind)
    return locate(FileSource(path=f"{MONITORING_DIR}/{name}"), repo)


def _type_of(name: str) -> pa.DataType:
    if name in _COUNTS:
        return pa.int64()
    if name in _REAL or (name.startswith("p") and name[1:].isdigit()):
        return pa.float64()
    if name == "is_baseline":
        return pa.bool_()
    if name == "metric_date":
        return pa.date32()
    return pa.timestamp("us", "UTC") if name in _MOMENTS else pa.string()


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, str) and name in _MOMENTS:
        return utc(datetime.fromisoformat(value))
    if isinstance(value, str) and name == "metric_date":
        return date.fromisoformat(value[:10])
    return value
