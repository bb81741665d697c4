"""Find the rows of compacted parts that a filter matches."""

import re
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.prediction_log.search.record_filter import RecordFilter, users_values
from tidemill.prediction_log.storage.log_schema import as_record

__all__ = ["labels_of", "predictions_of"]

_TEXTS = ("instance", "keys", "decision", "answer")
_PLAIN = re.compile(r"[A-Za-z][ -!#-\\[\]-~]*", re.ASCII)  # JSON writes it without escapes


def predictions_of(scan: pl.LazyFrame, wanted: RecordFilter, before: datetime | None = None) -> pl.DataFrame:
    """Return ``prediction_id`` of each row of a part, and ``found``: whether the filter matches it.

    Args:
        scan: the rows.
        wanted: the filter.
        before: predictions served later do not match.
    """
    schema = scan.collect_schema().names()
    features = [FEATURE_PREFIX + name for name in sorted(wanted.fields) if FEATURE_PREFIX + name in schema]
    texts = [name for name in _TEXTS if name in schema]
    rows = scan.select("prediction_id", "served_at", *texts, *features).with_row_index("_row").collect()
    likely = rows.filter(_likely(wanted, texts)) if not features else rows
    found = [
        row["_row"] for row in likely.iter_rows(named=True) if wanted.matches(users_values(as_record(row)))
    ]
    ours = pl.col("_row").is_in(found)
    if before is not None:
        ours &= pl.col("served_at") < before
    return rows.select("prediction_id", ours.alias("found"))


def labels_of(scan: pl.LazyFrame, wanted: RecordFilter, ids: Set[str]) -> pl.Series:
    """Return for each row of a part whether it is a label of one of ``ids``, or its keys match the filter."""
    rows = scan.select("prediction_id", "keys").with_row_index("_row").collect()
    likely = rows.filter(_likely(wanted, ["keys"]))
    found = [
        row["_row"] for row in likely.iter_rows(named=True) if wanted.matches(users_values(as_record(row)))
    ]
    ours = pl.col("prediction_id").is_in(list(ids)).fill_null(False) | pl.col("_row").is_in(found)
    return rows.select(ours.alias("found"))["found"]


def _matches(wanted: RecordFilter, row: Mapping[str, Any]) -> bool:
    return wanted.matches(users_values(as_record(row)))


def _likely(wanted: RecordFilter, columns: list[str]) -> pl.Expr:
    """Return an expression, true for rows that the filter may match."""
    if not wanted.literal or not all(_PLAIN.fullmatch(text) for text in wanted.texts):
        return pl.lit(True)
    needles = [pl.col(name).str.contains_any(sorted(wanted.texts)) for name in columns]
    return pl.any_horizontal(needles).fill_null(False)
