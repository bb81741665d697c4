"""The compacted parts of the prediction log: finding the rows of one subject."""

import re
from collections.abc import Set
from datetime import datetime

import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.prediction_log.storage.log_schema import as_record
from tidemill.privacy.subject import Subject

__all__ = ["labels_of", "predictions_of"]

_TEXTS = ("instance", "keys", "decision")
_PLAIN = re.compile(r"[A-Za-z][ -!#-\\[\]-~]*", re.ASCII)  # stands in JSON as it is, and is no number


def predictions_of(scan: pl.LazyFrame, subject: Subject, before: datetime | None = None) -> pl.DataFrame:
    """Return ``prediction_id`` of each row of a part, and ``found``: whether it is of the subject.

    Args:
        scan: the rows.
        subject: who.
        before: what was served later is not.
    """
    schema = scan.collect_schema().names()
    names = {name for names in subject.names.values() for name in names}
    features = [FEATURE_PREFIX + name for name in sorted(names) if FEATURE_PREFIX + name in schema]
    texts = [name for name in _TEXTS if name in schema]
    rows = scan.select("prediction_id", "served_at", *texts, *features).with_row_index("_row").collect()
    likely = rows.filter(_likely(subject, texts)) if not features else rows
    found = [row["_row"] for row in likely.iter_rows(named=True) if subject.within(as_record(row))]
    ours = pl.col("_row").is_in(found)
    if before is not None:
        ours &= pl.col("served_at") < before
    return rows.select("prediction_id", ours.alias("found"))


def labels_of(scan: pl.LazyFrame, subject: Subject, ids: Set[str]) -> pl.Series:
    """Tell for each row of a part whether it is a label of one of ``ids``, or names the subject's keys."""
    rows = scan.select("prediction_id", "keys").with_row_index("_row").collect()
    likely = rows.filter(_likely(subject, ["keys"]))
    found = [row["_row"] for row in likely.iter_rows(named=True) if subject.within(as_record(row))]
    ours = pl.col("prediction_id").is_in(list(ids)).fill_null(False) | pl.col("_row").is_in(found)
    return rows.select(ours.alias("found"))["found"]


def _likely(subject: Subject, columns: list[str]) -> pl.Expr:
    """Return an expression, true for rows that may name the subject."""
    values = {*subject.values.values(), *subject.pseudonyms.values()}
    if not all(_PLAIN.fullmatch(value) for value in values):
        return pl.lit(True)
    needles = [pl.col(name).str.contains_any(sorted(values)) for name in columns]
    return pl.any_horizontal(needles).fill_null(False)
