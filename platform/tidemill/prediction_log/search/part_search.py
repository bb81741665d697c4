"""Find records in the compacted parts of the prediction log (`compaction`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from tidemill.prediction_log.storage.log_schema import as_record
from tidemill.prediction_log.storage.manifests import Located, Partition

__all__ = ["count_pieces", "labels_by_keys", "labels_of", "latest_of", "record_of"]


def record_of(found: Sequence[Partition], identifier: str) -> dict[str, Any] | None:
    """Return the record of a prediction, or None if no part has it."""
    for located in _parts(found):
        if _may_have(located, identifier):
            for row in _rows(located, pl.col("prediction_id") == identifier, 1):
                return as_record(row)
    return None


def labels_of(found: Sequence[Partition], identifier: str) -> list[dict[str, Any]]:
    """Return the labels that a prediction was given by id."""
    return [
        as_record(row)
        for located in _parts(found)
        if _may_have(located, identifier)
        for row in _rows(located, pl.col("prediction_id") == identifier)
    ]


def labels_by_keys(found: Sequence[Partition]) -> list[dict[str, Any]]:
    """Return the labels that name their predictions by keys."""
    by_keys = pl.col("prediction_id").is_null()
    return [as_record(row) for located in _parts(found) for row in _rows(located, by_keys)]


def latest_of(partition: Partition, version: str, count: int) -> list[dict[str, Any]]:
    """Return the ``count`` latest predictions of a version on a date, in no particular order."""
    found = []
    for located in partition.parts:
        chosen = located.scan().filter(pl.col("version") == version).sort("at").tail(count)
        found += chosen.collect().rows(named=True)
    found.sort(key=lambda row: row["at"], reverse=True)
    return [as_record(row) for row in found[:count]]


def count_pieces(found: Sequence[Partition], schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """Yield the named columns, a part at a time; moments as ISO 8601, null in parts older than a column."""
    for located in _parts(found):
        scan = located.scan()
        older = schema.keys() - scan.collect_schema().names()
        whole = scan.with_columns(pl.lit(None, schema[name]).alias(name) for name in older)
        frame = whole.select(list(schema)).collect()
        moments = [name for name, dtype in frame.schema.items() if dtype == pl.Datetime]
        yield frame.with_columns(pl.col(moments).dt.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"))


def _parts(found: Sequence[Partition]) -> Iterator[Located]:
    for partition in reversed(found):
        yield from partition.parts


def _may_have(located: Located, identifier: str) -> bool:
    first, last = located.part.first_id, located.part.last_id
    return first is not None and last is not None and first <= identifier <= last


def _rows(located: Located, where: pl.Expr, count: int | None = None) -> list[dict[str, Any]]:
    chosen = located.scan().filter(where)
    return (chosen if count is None else chosen.head(count)).collect().rows(named=True)
