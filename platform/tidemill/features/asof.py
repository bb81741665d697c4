"""The point-in-time join: for every row the latest value that was known at the row's moment.

Plain Polars over plain frames; knows neither Feast nor files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from tidemill.errors import FeatureError

__all__ = ["History", "point_in_time_join", "utc_moments"]

_NANOSECONDS = (
    datetime(1678, 1, 1, tzinfo=UTC),
    datetime(2262, 1, 1, tzinfo=UTC),
)  # what an int64 of them can hold
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_AT, _ON, _KNOWN, _CREATED = "__at", "__on", "__known", "__created"


@dataclass(frozen=True)
class History:
    """What was known about some entities, and from when on: the source of one feature view."""

    name: str
    """The view, for messages."""
    values: pl.LazyFrame
    """One row per entity and moment, in any order."""
    keys: Mapping[str, str]
    """Key column of ``values`` → column of the rows it is joined on; empty for a view without entities."""
    features: Mapping[str, str]
    """Column of ``values`` → name in the result."""
    timestamp: str
    """Column with the moment from which on a value was known; naive means UTC."""
    created: str | None = None
    """Column that breaks ties between equal timestamps: the latest wins, null loses."""
    ttl: timedelta | None = None
    """How long a value holds, inclusive; none or zero means for ever."""


def point_in_time_join(rows: pl.DataFrame, at: str, histories: Sequence[History]) -> pl.DataFrame:
    """Return the features of every row as they were known at its moment.

    A row gets, from each history, the values of the latest timestamp that is not after the row's moment. It
    gets nulls if there is none, if that one is older than the TTL, or if the row's key or moment is null.

    Args:
        rows: Keys and moments; duplicates are fine, no order is needed.
        at: Column of ``rows`` with the moments; naive means UTC.
        histories: Where the values come from.

    Returns:
        The features only: as many rows as ``rows``, in the same order, columns in the order of the histories.

    Raises:
        FeatureError: a column is missing or of a type that cannot be compared.

    >>> rows = pl.DataFrame({"origin": ["JFK", "JFK"], "at": [datetime(2013, 1, 2), datetime(2013, 1, 9)]})
    >>> weather = pl.LazyFrame({"origin": ["JFK"], "time": [datetime(2013, 1, 1)], "wind": [12.5]})
    >>> keys, features = {"origin": "origin"}, {"wind": "wind"}
    >>> history = History("weather", weather, keys, features, "time", ttl=timedelta(days=2))
    >>> point_in_time_join(rows, "at", [history])["wind"].to_list()
    [12.5, None]
    """
    histories = [history for history in histories if history.features]
    if not histories:
        return pl.DataFrame(height=rows.height)
    schemas = [history.values.collect_schema() for history in histories]
    for history, schema in zip(histories, schemas, strict=True):
        _require(history, schema, rows.schema, at)
    stamps = [rows.schema[at], *(s[h.timestamp] for h, s in zip(histories, schemas, strict=True))]
    unit = "ns" if any(isinstance(s, pl.Datetime) and s.time_unit == "ns" for s in stamps) else "us"
    moments = rows.select(utc_moments(at, rows.schema[at], unit).alias(_AT))[_AT]
    order = None if moments.is_sorted() and not moments.has_nulls() else moments.arg_sort()
    asked = rows.with_columns(moments) if order is None else rows.with_columns(moments)[order]
    answers = pl.concat(
        pl.collect_all([_latest(asked, *pair, unit) for pair in zip(histories, schemas, strict=True)]),
        how="horizontal",
    )
    return answers if order is None else answers[order.arg_sort()]


def utc_moments(column: str, dtype: pl.DataType, unit: str) -> pl.Expr:
    """Return an expression for ``column`` as moments in UTC at ``unit`` (``us`` or ``ns``).

    Raises:
        FeatureError: ``dtype`` is no point in time.
    """
    moments = pl.col(column)
    if dtype == pl.Date:
        moments, dtype = moments.cast(pl.Datetime("us")), pl.Datetime("us")
    if not isinstance(dtype, pl.Datetime):
        raise FeatureError(
            f"column {column!r} holds {dtype}, not points in time", hint="write it as a timestamp column"
        )
    in_utc = moments.dt.convert_time_zone("UTC") if dtype.time_zone else moments.dt.replace_time_zone("UTC")
    if unit == "ns" and dtype.time_unit != "ns":
        in_utc = in_utc.clip(*_NANOSECONDS)  # 9999-12-31 as "never" would wrap around
    return in_utc.dt.cast_time_unit(unit)  # type: ignore[arg-type]


def _latest(asked: pl.DataFrame, history: History, schema: pl.Schema, unit: str) -> pl.LazyFrame:
    """Return the history's features for rows that are in the order of their moments, nulls first."""
    keys = [f"__key{index}" for index in range(len(history.keys))]
    features = {f"__feature{index}": name for index, name in enumerate(history.features.values())}
    stamp, span = asked.schema[_AT], pl.Duration(unit)  # type: ignore[arg-type]
    rows = asked.lazy().select(
        pl.col(_AT),
        pl.col(_AT).fill_null(pl.lit(_NANOSECONDS[0] if unit == "ns" else _YEAR_ONE, stamp)).alias(_ON),
        *(
            _comparable(history, column, asked.schema[column], schema[key]).alias(alias)
            for alias, (key, column) in zip(keys, history.keys.items(), strict=True)
        ),
    )
    joined = rows.join_asof(
        _known(history, schema, keys, list(features), unit),
        left_on=_ON,
        right_on=_KNOWN,
        by=keys or None,
        strategy="backward",
        coalesce=False,
        check_sortedness=False,  # both sides were sorted just now
    )
    valid = pl.col(_AT).is_not_null()
    if history.ttl:
        valid &= pl.col(_AT) - pl.col(_KNOWN) <= pl.lit(history.ttl, span)
    return joined.select(pl.when(valid).then(pl.col(alias)).alias(name) for alias, name in features.items())


def _known(
    history: History, schema: pl.Schema, keys: Sequence[str], features: Sequence[str], unit: str
) -> pl.LazyFrame:
    """Return the history in join order: the last of equal timestamps is the one that counts."""
    columns = [utc_moments(history.timestamp, schema[history.timestamp], unit).alias(_KNOWN)]
    columns += [
        (pl.col(key).cast(pl.String) if _kind(schema[key]) == "text" else pl.col(key)).alias(alias)
        for alias, key in zip(keys, history.keys, strict=True)
    ]
    columns += [pl.col(name).alias(alias) for alias, name in zip(features, history.features, strict=True)]
    order = [_KNOWN]
    if history.created:
        columns.append(utc_moments(history.created, schema[history.created], "us").alias(_CREATED))
        order.append(_CREATED)
    known = history.values.select(columns).drop_nulls([_KNOWN, *keys])
    return known.sort(order, nulls_last=False, maintain_order=True).drop(order[1:])


def _require(history: History, schema: pl.Schema, rows: pl.Schema, at: str) -> None:
    needed = [*history.keys, history.timestamp, *history.features]
    if history.created:
        needed.append(history.created)
    for where, absent in (
        ("its source", [column for column in needed if column not in schema]),
        ("the entity frame", [column for column in (*history.keys.values(), at) if column not in rows]),
    ):
        if absent:
            raise FeatureError(
                f"feature view {history.name!r}: {where} has no column {', '.join(map(repr, absent))}",
                hint=f"there are: {', '.join(schema if where == 'its source' else rows)}",
            )


def _comparable(history: History, column: str, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    """Return the rows' key as the source's type; what that cannot hold becomes null and matches nothing."""
    kinds = _kind(have), _kind(want)
    key = pl.col(column)
    if have == pl.Null or have == want:
        return key.cast(want) if kinds[1] != "text" else key.cast(pl.String)
    if kinds == ("float", "integer"):  # pandas keeps integers with gaps as floats
        return pl.when(key == key.floor()).then(key).cast(want, strict=False)
    if kinds[0] == kinds[1] == "text":
        return key.cast(pl.String)
    if kinds[0] == kinds[1] != "other" or kinds == ("integer", "float"):
        return key.cast(want, strict=False)
    raise FeatureError(
        f"feature view {history.name!r}: key {column!r} is {have} in the entity frame, {want} in the source",
        hint="write both with the same type",
    )


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return "text"
    return "other"
