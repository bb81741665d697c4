"""The columns of the prediction log, in its parts and in what its readers return."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import polars as pl

from tidemill.prediction_log.log_records import FEATURE_PREFIX, LABEL_COLUMNS, PREDICTION_COLUMNS
from tidemill.prediction_log.storage.manifests import Kind

__all__ = ["COLUMNS", "TYPED", "as_record", "stacked", "with_answer", "with_types"]

_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"
_MOMENTS = {"predictions": ("at", "served_at"), "labels": ("at", "received_at", "predicted_at")}
_NESTED = ("instance", "decision", "keys", "answer")
_UTC = pl.Datetime("us", "UTC")
_LISTS = pl.List(pl.Float64)

COLUMNS = {"predictions": PREDICTION_COLUMNS, "labels": LABEL_COLUMNS}
"""Types of a line's fields."""

TYPED = {
    kind: {name: _UTC if name in _MOMENTS[kind] else dtype for name, dtype in columns.items()}
    for kind, columns in COLUMNS.items()
}
"""Types of the columns, features aside, once they are read."""


def with_types(lines: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Return lines with moments as timestamps, and each feature in a column ``feature.<name>``.

    A feature is a Float64 if its values are only numbers or nulls, a list of Float64 if they are lists.
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
        pl.col(name).cast(_LISTS if isinstance(dtype, pl.List) else pl.Float64)
        for name, dtype in schema
        if name.startswith(FEATURE_PREFIX)
        and (
            dtype == pl.Null
            or (dtype.is_numeric() and dtype != pl.Float64)
            or (isinstance(dtype, pl.List) and dtype.inner != pl.Float64)
        )
    ]


def stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all frames; a column that one of them lacks is null there.

    A feature whose values were numbers before they were lists has lists of one number there; one that was
    text as well is JSON text.

    >>> before, now = pl.DataFrame({"feature.e": [1.0, None]}), pl.DataFrame({"feature.e": [[2.0, 3.0]]})
    >>> stacked([before, now])["feature.e"].to_list()
    [[1.0], None, [2.0, 3.0]]
    """
    types: dict[str, list[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            types.setdefault(name, []).append(dtype)
    mixed = {
        name: pl.String in found
        for name, found in types.items()
        if name.startswith(FEATURE_PREFIX) and _LISTS in found and any(each != _LISTS for each in found)
    }
    alike = [
        frame.with_columns(
            _as_json(frame[name]) if text else _as_list(frame[name])
            for name, text in mixed.items()
            if name in frame.columns
        )
        for frame in frames
    ]
    return pl.concat(alike, how="diagonal_relaxed")


def _as_list(column: pl.Series) -> pl.Series:
    if column.dtype == _LISTS:
        return column
    values = column.cast(pl.Float64).to_list()
    return pl.Series(column.name, [None if value is None else [value] for value in values], _LISTS)


def _as_json(column: pl.Series) -> pl.Series:
    if column.dtype != _LISTS:
        return column.cast(pl.String)
    texts = [None if value is None else orjson.dumps(value).decode() for value in column.to_list()]
    return pl.Series(column.name, texts, pl.String)
