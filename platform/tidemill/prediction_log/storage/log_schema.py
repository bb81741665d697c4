"""The columns of the prediction log, in its parts and in what its readers return."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX, LABEL_COLUMNS, PREDICTION_COLUMNS
from tidemill.prediction_log.storage.manifests import Kind

__all__ = ["COLUMNS", "TYPED", "as_record", "with_answer", "with_types"]

_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"
_MOMENTS = {"predictions": ("at", "served_at"), "labels": ("at", "received_at", "predicted_at")}
_NESTED = ("instance", "decision", "keys", "answer")
_UTC = pl.Datetime("us", "UTC")

COLUMNS = {"predictions": PREDICTION_COLUMNS, "labels": LABEL_COLUMNS}
"""Types of a line's fields."""

TYPED = {
    kind: {name: _UTC if name in _MOMENTS[kind] else dtype for name, dtype in columns.items()}
    for kind, columns in COLUMNS.items()
}
"""Types of the columns, features aside, once they are read."""


def with_types(lines: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Return lines with moments as timestamps, and each feature in a column ``feature.<name>``.

    A feature is a Float64 if its values are only numbers or nulls.
    """
    lines = lines.with_columns(
        pl.col(_MOMENTS[kind]).str.to_datetime(_MOMENT, time_unit="us", time_zone="UTC")
    )
    if kind == "predictions" and isinstance(lines.schema.get("features"), pl.Struct):
        lines = lines.with_columns(pl.col("features").name.prefix_fields(FEATURE_PREFIX)).unnest("features")
    elif "features" in lines.columns:
        lines = lines.drop("features")
    return lines.with_columns(_as_float(lines.schema.items()))


def as_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a part as the line it was made of; features that its part has for others are null.

    >>> as_record({"score": 0.5, "keys": '{"carrier": "UA"}', "feature.wind": 8.0})
    {'score': 0.5, 'keys': {'carrier': 'UA'}, 'features': {'wind': 8.0}}
    """
    record: dict[str, Any] = {}
    for name, value in row.items():
        if name.startswith(FEATURE_PREFIX):
            record.setdefault("features", {})[name.removeprefix(FEATURE_PREFIX)] = value
        elif isinstance(value, datetime):
            record[name] = value.isoformat()
        else:
            record[name] = orjson.loads(value) if name in _NESTED and value is not None else value
    return record


def with_answer(record: dict[str, Any]) -> dict[str, Any]:
    """Return a line as a record, with an answer that was written as text decoded: only objects are not."""
    if type(answer := record.get("answer")) is str:
        record["answer"] = orjson.loads(answer)
    return record


def _as_float(schema: Iterable[tuple[str, pl.DataType]]) -> list[pl.Expr]:
    return [
        pl.col(name).cast(pl.Float64)
        for name, dtype in schema
        if name.startswith(FEATURE_PREFIX)
        and (dtype == pl.Null or (dtype.is_numeric() and dtype != pl.Float64))
    ]
