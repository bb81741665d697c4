"""The rows to find features for: an entity frame, or all keys and timestamps in a span of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa

from tidemill.clock import is_number, utc
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.time_zones import in_utc
from tidemill.errors import FeatureError
from tidemill.features.offline.asof import utc_moments
from tidemill.features.offline.histories import ViewHistory

__all__ = ["EVENT_TIMESTAMP", "EntityRows", "entity_rows", "rows_of_span"]

EVENT_TIMESTAMP = "event_timestamp"


@dataclass(frozen=True)
class EntityRows:
    """Keys, moments, and further columns that the caller wants back."""

    table: pa.Table
    """The moments are timestamps in UTC."""
    at: str
    """The column with them."""

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """The first and the last moment."""
        moments = pl.Series(self.table[self.at]).dt.cast_time_unit("us")
        return moments.min(), moments.max()  # type: ignore[return-value]


def entity_rows(frame: Any) -> EntityRows:
    """Return the rows of an entity frame of pandas, Polars or Arrow.

    The moments are in ``event_timestamp`` or, without such a column, in the only one that has timestamps;
    naive ones are UTC, text is read as ISO 8601.

    Raises:
        FeatureError: it is not a frame, or no column, or several, can be the moments, or these are invalid.
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        frame = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    if not isinstance(frame, pd.DataFrame | pa.Table):
        raise FeatureError(
            f"the entity frame must be a pandas, Polars or Arrow frame, not {type(frame).__name__}",
            hint="this store runs no SQL; read the rows yourself, or give start_date and end_date instead",
        )
    if isinstance(frame, pa.Table):
        frame = in_utc(frame)
    names = [str(name) for name in (frame.columns if isinstance(frame, pd.DataFrame) else frame.column_names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(
            f"the entity frame has two columns {', '.join(map(repr, twice))}", hint="rename one of them"
        )
    return _of_pandas(frame) if isinstance(frame, pd.DataFrame) else _of_arrow(frame)


def _of_pandas(frame: pd.DataFrame) -> EntityRows:
    at = _moment_column({str(name): _holds_moments(dtype) for name, dtype in frame.dtypes.items()})
    try:
        table = pa.Table.from_pandas(frame.assign(**{at: _moments(frame[at])}), preserve_index=False)
    except pa.ArrowException as error:
        raise FeatureError(
            f"the entity frame has a column of mixed types: {error}",
            hint="give each column one type",
        ) from error
    return EntityRows(in_utc(table).replace_schema_metadata(), at)


def _of_arrow(frame: pa.Table) -> EntityRows:
    at = _moment_column(
        {
            field.name: pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
            for field in frame.schema
        }
    )
    column = pl.from_arrow(frame.select([at]))[at]  # type: ignore[index]
    if not isinstance(column.dtype, pl.Datetime | pl.Date):
        column = pl.from_pandas(_moments(column.to_pandas().rename(at)))
    unit: Literal["us", "ns"] = "ns" if getattr(column.dtype, "time_unit", "us") == "ns" else "us"
    moments = column.to_frame(at).select(utc_moments(at, column.dtype, unit))[at]
    index = frame.column_names.index(at)
    return EntityRows(frame.set_column(index, at, moments.to_arrow()), at)


def rows_of_span(asked: Sequence[ViewHistory], start: datetime, end: datetime) -> EntityRows:
    """Return the distinct keys and timestamps in the views' sources within the span, both ends included.

    Of several views, keys that one lacks are null in its rows. Views without entities add rows only if all
    are. In the order of time, then of keys.

    Raises:
        FeatureError: no view is given.
    """
    keyed = [view.history for view in asked if view.history.keys] or [view.history for view in asked]
    if not keyed:
        raise FeatureError(
            "no feature view has rows in this span of time", hint="give an entity frame instead"
        )
    stamps = [history.values.collect_schema()[history.timestamp] for history in keyed]
    unit: Literal["us", "ns"] = "ns" if any(getattr(s, "time_unit", "us") == "ns" for s in stamps) else "us"
    found = []
    for history, stamp in zip(keyed, stamps, strict=True):
        moment = utc_moments(history.timestamp, stamp, unit)
        rows = history.values.filter(moment.is_between(utc(start), utc(end)))
        keys_there = (pl.col(literal_name(key)).alias(name) for key, name in history.keys.items())
        found.append(rows.select(*keys_there, moment.alias(EVENT_TIMESTAMP)).drop_nulls().unique())
    keys = list(dict.fromkeys(name for history in keyed for name in history.keys.values()))
    rows = (
        pl.concat(found, how="diagonal_relaxed")
        .unique()
        .sort([EVENT_TIMESTAMP, *literal_names(keys)], nulls_last=True)
    )
    table = (
        rows.select(*literal_names(keys), EVENT_TIMESTAMP)
        .collect()
        .to_arrow(compat_level=pl.CompatLevel.oldest())
    )
    return EntityRows(table, EVENT_TIMESTAMP)


def _moment_column(columns: dict[str, bool]) -> str:
    """Return the name of the column with the moments, from name → whether it has timestamps."""
    if EVENT_TIMESTAMP in columns:
        return EVENT_TIMESTAMP
    candidates = [name for name, holds_moments in columns.items() if holds_moments]
    if len(candidates) == 1:
        return candidates[0]
    reason = f"{', '.join(map(repr, candidates))} could be it" if candidates else "no column has timestamps"
    raise FeatureError(
        f"the entity frame has no moments: there is no column {EVENT_TIMESTAMP!r}, and {reason}",
        hint=f"call the column with the moment of each row {EVENT_TIMESTAMP!r}",
    )


def _holds_moments(dtype: Any) -> bool:
    return bool(pd.api.types.is_datetime64_any_dtype(dtype))


def _moments(column: "pd.Series[Any]") -> "pd.Series[Any]":
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        moments: pd.Series[Any] = column.dt.tz_convert("UTC")
        return moments
    if pd.api.types.is_numeric_dtype(column.dtype) and column.notna().any():
        reason = f"they are {column.dtype}"
    elif (digits := _digits(column)) is not None:
        reason = f"{digits!r} is a number"
    else:
        try:
            return pd.to_datetime(column, utc=True, format="ISO8601")
        except (ValueError, TypeError, OverflowError) as error:
            reason = str(error)
    raise FeatureError(
        f"column {column.name!r} of the entity frame does not hold points in time: {reason}",
        hint="give it timestamps, or text as ISO 8601",
    )


def _digits(column: "pd.Series[Any]") -> str | None:
    """Return the first value that is text of digits alone, which pandas takes for a year or a date."""
    return next((value for value in column.unique() if isinstance(value, str) and is_number(value)), None)
