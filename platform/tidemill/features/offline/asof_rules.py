"""The rules of the point-in-time join, in Polars: comparable types, relevant rows, values not expired.

Plain Polars over plain frames, without Feast or files. `asof` applies these rules.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import FeatureError
from tidemill.features.offline.conforming import refuse_missing

__all__ = [
    "AT",
    "KNOWN",
    "ON",
    "History",
    "Lookup",
    "Span",
    "drop_superseded",
    "history_within",
    "latest_features",
    "look_up",
    "request_keys",
    "sort_history",
    "span_of",
    "utc_moments",
]

AT, ON, KNOWN = "__at", "__on", "__known"
_CREATED, _EVENT = "__created", "__event"
_NANOSECONDS = (
    datetime(1678, 1, 1, tzinfo=UTC),
    datetime(2262, 1, 1, tzinfo=UTC),
)  # the range of an int64 of nanoseconds
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_MARGIN = timedelta(days=1)  # above the coarsest resolution there is

Unit = Literal["us", "ns"]


@dataclass(frozen=True)
class History:
    """The values of one feature view's source, and the moments from which they were known."""

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
    """How long a value is valid from its timestamp on, inclusive; None or zero means for ever."""
    from_creation: bool = False
    """Whether a value counts only from its creation on, too; one without a created timestamp never does."""

    @property
    def withheld(self) -> str | None:
        """The column with the creation that values wait for, if they do."""
        return self.created if self.from_creation else None


class Span(NamedTuple):
    """The first and the last moment of the rows."""

    first: datetime
    last: datetime


@dataclass(frozen=True)
class Lookup:
    """One history that fits the rows, under the column names that the join works with."""

    history: History
    schema: pl.Schema
    """Of the history's values."""
    unit: Unit
    """The resolution at which moments are compared; the same for all histories of a join."""

    @property
    def keys(self) -> dict[str, str]:
        """Working name of a key → column of the values."""
        return {f"__key{index}": key for index, key in enumerate(self.history.keys)}

    @property
    def features(self) -> dict[str, str]:
        """Working name of a feature → column of the values."""
        return {f"__feature{index}": column for index, column in enumerate(self.history.features)}

    @property
    def result(self) -> pl.Schema:
        """Names and types of what the rows get."""
        return pl.Schema({name: self.schema[column] for column, name in self.history.features.items()})


def look_up(rows: pl.Schema, at: str, histories: Sequence[History]) -> list[Lookup]:
    """Check that ``histories`` fit rows of the schema ``rows``; leave out those without a wanted feature.

    Raises:
        FeatureError: a column is missing.
    """
    histories = [history for history in histories if history.features]
    schemas = [history.values.collect_schema() for history in histories]
    for history, schema in zip(histories, schemas, strict=True):
        _require(history, schema, rows, at)
    stamps = [schema[history.timestamp] for history, schema in zip(histories, schemas, strict=True)]
    stamps += [schema[h.withheld] for h, schema in zip(histories, schemas, strict=True) if h.withheld]
    if histories:
        stamps.append(rows[at])
    fine = any(isinstance(stamp, pl.Datetime) and stamp.time_unit == "ns" for stamp in stamps)
    pairs = zip(histories, schemas, strict=True)
    return [Lookup(history, schema, "ns" if fine else "us") for history, schema in pairs]


def utc_moments(column: str, dtype: pl.DataType, unit: Unit) -> pl.Expr:
    """Return an expression for ``column`` as moments in UTC at ``unit``.

    Raises:
        FeatureError: ``dtype`` is not a date or timestamp.
    """
    moments = pl.col(literal_name(column))
    if dtype == pl.Date:
        moments, dtype = moments.cast(pl.Datetime("us")), pl.Datetime("us")
    if not isinstance(dtype, pl.Datetime):
        raise FeatureError(
            f"column {column!r} holds {dtype}, not points in time", hint="write it as a timestamp column"
        )
    in_utc = moments.dt.convert_time_zone("UTC") if dtype.time_zone else moments.dt.replace_time_zone("UTC")
    if unit == "ns" and dtype.time_unit != "ns":
        in_utc = in_utc.clip(*_NANOSECONDS)  # 9999-12-31 as "never" would wrap around
    return in_utc.dt.cast_time_unit(unit)


def span_of(moments: pl.Series) -> Span | None:
    """Return the first and last of ``moments`` (in UTC), to the microsecond; none if all are null."""
    first, last = moments.min(), moments.max()
    return Span(first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def request_keys(rows: pl.LazyFrame, schema: pl.Schema, lookup: Lookup) -> pl.LazyFrame:
    """Return the rows' moments (column ``AT``) and keys, under the working names of one history."""
    earliest = _NANOSECONDS[0] if lookup.unit == "ns" else _YEAR_ONE
    stamp = pl.Datetime(lookup.unit, "UTC")
    columns = zip(lookup.keys.items(), lookup.history.keys.values(), strict=True)
    return rows.select(
        pl.col(AT),
        pl.col(AT).fill_null(pl.lit(earliest, stamp)).alias(ON),
        *(
            _comparable(lookup.history, column, schema[column], lookup.schema[key]).alias(alias)
            for (alias, key), column in columns
        ),
    )


def history_within(lookup: Lookup, span: Span) -> pl.LazyFrame:
    """Return the part of the history that can matter to moments within ``span``, in its own order."""
    history, schema = lookup.history, lookup.schema
    event = utc_moments(history.timestamp, schema[history.timestamp], lookup.unit)
    columns = [event.alias(KNOWN)]
    if history.withheld:
        creation = utc_moments(history.withheld, schema[history.withheld], lookup.unit)
        columns = [pl.max_horizontal(event, creation).alias(KNOWN), event.alias(_EVENT)]
    columns += [_as_text(literal_name(key), schema[key]).alias(alias) for alias, key in lookup.keys.items()]
    columns += [pl.col(literal_name(column)).alias(alias) for alias, column in lookup.features.items()]
    if history.created:
        finest: Unit = "ns" if getattr(schema[history.created], "time_unit", "us") == "ns" else "us"
        columns.append(utc_moments(history.created, schema[history.created], finest).alias(_CREATED))
    values = history.values
    for bound in _bounds(history, schema[history.timestamp], span):
        values = values.filter(bound)
    needed = [_EVENT, _CREATED] if history.withheld else [KNOWN]
    return values.select(columns).drop_nulls([*needed, *lookup.keys])


def _as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).cast(pl.String) if _kind(dtype) in ("text", "null") else pl.col(name)


def sort_history(known: pl.LazyFrame, lookup: Lookup) -> pl.LazyFrame:
    """Sort a history for `latest_features`: the last of equal timestamps is the one that counts."""
    order = [KNOWN, *([_EVENT] if lookup.history.withheld else [])]
    order += [_CREATED] if lookup.history.created else []
    known = known.sort(order, nulls_last=False, maintain_order=True)
    return drop_superseded(known.drop(_CREATED, strict=False), lookup)


def drop_superseded(known: pl.LazyFrame, lookup: Lookup) -> pl.LazyFrame:
    """Leave out values that were outdated already when they were created, from what is sorted.

    Those that are left have rising timestamps in each key, so that the last known is the one that counts. Of
    equal timestamps, that which was created later was known later, too.
    """
    if not lookup.history.withheld:
        return known
    newest = pl.col(_EVENT).cum_max()
    keys = list(lookup.keys)
    return known.filter(pl.col(_EVENT) >= (newest.over(keys) if keys else newest))


def latest_features(asked: pl.LazyFrame, known: pl.LazyFrame, lookup: Lookup) -> pl.LazyFrame:
    """Return the features of rows, in the order of their moments, from a history sorted by `sort_history`."""
    joined = asked.join_asof(
        known,
        left_on=ON,
        right_on=KNOWN,
        by=list(lookup.keys) or None,
        strategy="backward",
        coalesce=False,
        check_sortedness=False,  # the callers sorted both
    )
    valid = pl.col(AT).is_not_null()
    if lookup.history.ttl:
        ttl = pl.lit(lookup.history.ttl, pl.Duration(lookup.unit))
        valid &= pl.col(AT) - pl.col(_EVENT if lookup.history.withheld else KNOWN) <= ttl
    names = zip(lookup.features, lookup.history.features.values(), strict=True)
    return joined.select(pl.when(valid).then(pl.col(alias)).alias(name) for alias, name in names)


def _bounds(history: History, dtype: pl.DataType, span: Span) -> list[pl.Expr]:
    """Return loose bounds on the plain timestamp column: those let whole row groups of parquet be skipped."""
    moments, bounds = pl.col(literal_name(history.timestamp)), []
    out_of_range = (OverflowError, ValueError)  # a moment that the type cannot hold gives no bound
    with suppress(*out_of_range):
        bounds.append(moments <= _literal(span.last + _MARGIN, dtype))
    if history.ttl:
        with suppress(*out_of_range):
            bounds.append(moments >= _literal(span.first - history.ttl - _MARGIN, dtype))
    return bounds


def _literal(moment: datetime, dtype: pl.DataType) -> pl.Expr:
    if not isinstance(dtype, pl.Datetime):
        return pl.lit(date(moment.year, moment.month, moment.day))
    if dtype.time_unit == "ns" and not _NANOSECONDS[0] < moment < _NANOSECONDS[1]:
        raise OverflowError
    local = moment.astimezone(ZoneInfo(dtype.time_zone)) if dtype.time_zone else moment.replace(tzinfo=None)
    return pl.lit(local, dtype)


def _require(history: History, schema: pl.Schema, rows: pl.Schema, at: str) -> None:
    needed = [*history.keys, history.timestamp, *history.features]
    if history.created:
        needed.append(history.created)
    refuse_missing(history.name, "its source", needed, schema)
    refuse_missing(history.name, "the entity frame", (*history.keys.values(), at), rows)


def _comparable(history: History, column: str, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    """Cast the rows' key to the source's type; values that it cannot hold become null and match nothing."""
    kinds = _kind(have), _kind(want)
    key = pl.col(literal_name(column))
    if want == pl.Null:  # the source has no key at all
        return pl.lit(None, pl.String)
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
    if dtype == pl.Null:
        return "null"
    return "other"
