"""Read all rows of a source, or the latest of each key, for materialisation and saved data sets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import FeatureError
from tidemill.features.offline.asof import utc_moments
from tidemill.features.offline.conforming import plain
from tidemill.features.offline.histories import keys_that_are_null
from tidemill.features.offline.parquet_sources import Reading, open_source
from tidemill.features.private_feast import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

__all__ = ["SourceSelection", "column_types", "pull"]


_ROW = "__row"


@dataclass(frozen=True)
class SourceSelection:
    """Selects rows and columns of a source."""

    source: DataSource
    keys: Sequence[str]
    features: Sequence[str]
    """None means all columns."""
    timestamp: str
    created: str | None
    start: datetime | None
    """Included; naive means UTC."""
    end: datetime | None
    """Included; naive means UTC."""
    latest: bool
    """Whether only the latest row of each key counts."""


def pull(wanted: SourceSelection, repo: Path | str | None, batch_rows: int | None) -> Iterator[pa.Table]:
    """Yield the rows in batches, or at once if the batch size is None; at least one table.

    Raises:
        FeatureError: a column is missing, a key is null in every row, or the source changed during the read.
    """
    reading = open_source(wanted.source, repo)
    with reading.unchanged():
        rows = _chosen(reading, wanted)
        if batch_rows is None:
            batches = iter([rows.collect(engine="streaming" if wanted.latest else "auto")])
        else:
            batches = rows.collect_batches(chunk_size=batch_rows, maintain_order=True)
        given = 0
        for number, batch in enumerate(batches):
            given += batch.height
            if number == 0 or batch.height:
                yield plain(batch.to_arrow(compat_level=pl.CompatLevel.oldest()))
        if not given:
            _reject_null_keys(reading, wanted)


def column_types(source: DataSource, repo: Path | str | None) -> list[tuple[str, str]]:
    """Return the columns of ``source`` and their Arrow types.

    Raises:
        FeatureError: it is missing or not parquet.
    """
    empty = pl.DataFrame(schema=open_source(source, repo).rows.collect_schema())
    schema = plain(empty.to_arrow(compat_level=pl.CompatLevel.oldest())).schema
    return [(field.name, str(field.type)) for field in schema]


def _chosen(reading: Reading, wanted: SourceSelection) -> pl.LazyFrame:
    rows = reading.rows
    schema = rows.collect_schema()
    order = [wanted.timestamp, *([wanted.created] if wanted.created else [])]
    columns = (
        list(dict.fromkeys([*wanted.keys, *wanted.features, *order])) if wanted.features else list(schema)
    )
    absent = [column for column in (*columns, *wanted.keys, *order) if column not in schema]
    if absent:
        raise FeatureError(
            f"{reading.where}: there is no column {', '.join(map(repr, dict.fromkeys(absent)))}",
            hint=f"there are: {', '.join(schema)}",
        )
    moment = utc_moments(wanted.timestamp, schema[wanted.timestamp], "us")
    rows = rows.filter(pl.col(literal_name(wanted.timestamp)).is_not_null())
    if wanted.start is not None:
        rows = rows.filter(moment >= utc(wanted.start))
    if wanted.end is not None:
        rows = rows.filter(moment <= utc(wanted.end))
    rows = rows.select(literal_names(columns))
    if wanted.latest and wanted.keys:
        rows = _latest(rows, list(wanted.keys), order)
    elif wanted.latest:
        rows = rows.sort(literal_names(order), nulls_last=False, maintain_order=True).tail(1)
    if not wanted.keys:
        rows = rows.with_columns(pl.lit(DUMMY_ENTITY_VAL).alias(DUMMY_ENTITY_ID))
    return rows


def _latest(rows: pl.LazyFrame, keys: list[str], order: list[str]) -> pl.LazyFrame:
    """Return the last row of each key; only rows of the newest timestamps are ever held and sorted."""
    keys, order = literal_names(keys), literal_names(order)
    rows = rows.drop_nulls(keys).with_row_index(_ROW)
    newest = rows.group_by(keys).agg(pl.col(order[0]).max())
    candidates = rows.join(newest, on=[*keys, order[0]], how="semi").sort([*order, _ROW], nulls_last=False)
    return candidates.unique(keys, keep="last", maintain_order=True).drop(_ROW)


def _reject_null_keys(reading: Reading, wanted: SourceSelection) -> None:
    null = keys_that_are_null(reading.rows, wanted.keys) if wanted.latest else []
    if null:
        raise FeatureError(
            f"{reading.where}: key {', '.join(map(repr, null))} is null in every row",
            hint="fill in the key; rows without a key are ignored",
        )
