"""Decides which column is the moment of the prediction, and which says what a row is about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl

from tidemill.clock import SystemClock
from tidemill.data.profiling.cell_values import cell_value
from tidemill.data.profiling.moment_formats import moment_formats, no_moments, several_formats
from tidemill.data.profiling.table_profile import ColumnProfile, TableProfile
from tidemill.data.tables.column_names import is_pattern, literal_name
from tidemill.errors import UsageError
from tidemill.quickstart.init_options import Ask, InitOptions, assume, existing_column

__all__ = ["KeyChoice", "TimeChoice", "choose_key", "choose_time", "moments_of"]

_NONE = "none"
"""Answers, and says in an option, that there is no such column."""
_USUAL_TIMES = ("event_timestamp", "timestamp", "datetime", "time", "date", "created_at", "at", "day")
_TIME_NAME = re.compile(
    r"(^|_|\b)(ts|(unix|event|date)?_?(time|timestamp)|date|day|epoch)(_?(ms|us|s|utc))?$", re.IGNORECASE
)
_MOST_WITHOUT_TIME = 0.05


class TimeChoice(NamedTuple):
    """The column with the moment of the prediction."""

    column: str
    format: str | None
    """How its values are read; None: they are moments already."""
    first: datetime
    last: datetime
    assumed: str | None
    """What was assumed about it, as a sentence."""
    zoned: bool = True
    """Whether its values have a zone or an offset; those without are taken as UTC."""
    later: int = 0
    """Rows that are later than now."""
    zeros: int = 0
    """Rows with the moment 0, the begin of 1970, among later ones."""


@dataclass(frozen=True)
class KeyChoice:
    """The column that says what a row is about."""

    column: str
    assumed: str | None
    """How it was found; None if it was named."""


def choose_time(
    table: pl.LazyFrame, profile: TableProfile, options: InitOptions, formats: Mapping[str, str], ask: Ask
) -> TimeChoice | None:
    """Choose the column with the moment of the prediction; None if there is none.

    Args:
        table: as it was read, before text was made to moments.
        profile: of the table after that.
        options: may name it.
        formats: columns of text that are moments, with their formats.
        ask: asks where several could be it.

    Raises:
        UsageError: there is no such column, its values cannot be read as moments, or many rows have none.
    """
    if _is_none(options.time, profile):
        return None
    if options.time is not None:
        name = existing_column("--time", options.time, profile.columns)
        if name == options.target:
            raise UsageError(f"--time: {name} is the target", hint="the time is when the target is predicted")
        return _time(table, profile.columns[name], formats, ask, None)
    able = [
        one
        for one in profile.columns.values()
        if not one.nulls
        and one.distinct > 2
        and one.personal is None
        and one.name != options.target
        and not is_pattern(one.name)
        and (one.is_moment or _is_counted_time(table, one))
    ]
    if not able:
        return None
    usual = sorted(able, key=lambda one: _rank(one.name))
    chosen = usual[0]
    assumed: str | None = "assumed to be the moment of the prediction, else: --time COL or none"
    if len(able) > 1:
        answer = ask(
            "which column is the moment of the prediction?",
            (*(one.name for one in usual), _NONE),
            chosen.name,
        )
        if answer == _NONE:
            return None
        chosen = profile.columns[answer]
        assumed = (
            f"assumed to be the moment of the prediction, one of {len(able)} columns; "
            "else: --time COL or none"
            if ask is assume
            else None
        )
    return _time(table, chosen, formats, ask, assumed)


def _is_none(wish: str | None, profile: TableProfile) -> bool:
    return wish == _NONE and _NONE not in profile.columns


def _is_counted_time(table: pl.LazyFrame, column: ColumnProfile) -> bool:
    """Return whether a column of numbers is called a time, and counts from 1970 or has days as 20131231."""
    if not column.dtype.is_numeric() or not _TIME_NAME.search(column.name):
        return False
    return bool(moment_formats(_digits_as_numbers(table, column.name), column.name))


def choose_key(
    table: pl.LazyFrame, profile: TableProfile, options: InitOptions, time: str | None, ask: Ask
) -> KeyChoice | None:
    """Choose the column that says what a row is about; None if there is none.

    Raises:
        UsageError: there is no such column, or several rows have the same key and the same time.
    """
    if _is_none(options.key, profile):
        return None
    if options.key is None:
        return _assumed_key(table, profile, options, time, ask)
    key = existing_column("--key", options.key, profile.columns)
    if key in (options.target, time):
        raise UsageError(
            f"--key: {key} is the {'target' if key == options.target else 'time'}", hint="name another column"
        )
    rows, example = _copies(table, key, time)
    if rows and time is not None:
        raise UsageError(
            f"--key: {rows:,} rows have the {key} and {time} of another row, for example {key} {example!r}",
            hint="remove the copies, name a --key that tells the rows apart, or leave --key out",
        )
    return KeyChoice(key, None)


def _copies(table: pl.LazyFrame, key: str, time: str | None) -> tuple[int, Any]:
    """Return how many rows have the key and the time of another row, and one of these keys."""
    columns = [literal_name(name) for name in (key, time) if name is not None]
    doubled = table.group_by(columns).agg(pl.len().alias("\0rows")).filter(pl.col("\0rows") > 1)
    found = doubled.select(pl.col("\0rows").sum(), pl.nth(0).first()).collect(engine="streaming").row(0)
    return int(found[0]), found[1]


def _assumed_key(
    table: pl.LazyFrame, profile: TableProfile, options: InitOptions, time: str | None, ask: Ask
) -> KeyChoice | None:
    left = [
        one
        for one in profile.columns.values()
        if one.name not in (options.target, time)
        and not one.personal
        and not one.is_constant
        and not one.is_prose
        and not is_pattern(one.name)
    ]
    able = [one.name for one in left if one.is_unique and one.looks_like_id]
    repeated = [
        one.name
        for one in left
        if one.is_named_id and not one.is_unique and (time is None or not _copies(table, one.name, time)[0])
    ]
    if not able and not repeated:
        return None
    assumed = able[0] if able else _NONE
    chosen = ask("which column says what a row is about?", (*able, *repeated, _NONE), assumed)
    if chosen == _NONE:
        return None
    others = f", one of {len(able)} columns with a value of its own in each row;" if len(able) > 1 else ","
    return KeyChoice(chosen, f"assumed{others} else: --key COL or none" if ask is assume else None)


def moments_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column of dates or moments as moments in UTC; those without a time zone count as UTC."""
    column = pl.col(literal_name(name)).cast(pl.Datetime("us", getattr(dtype, "time_zone", None)))
    if getattr(dtype, "time_zone", None):
        return column.dt.convert_time_zone("UTC")
    return column.dt.replace_time_zone("UTC")


def _rank(name: str) -> tuple[int, str]:
    lowered = name.lower()
    return (_USUAL_TIMES.index(lowered) if lowered in _USUAL_TIMES else len(_USUAL_TIMES), "")


def _time(
    table: pl.LazyFrame, column: ColumnProfile, formats: Mapping[str, str], ask: Ask, assumed: str | None
) -> TimeChoice:
    name, form = column.name, formats.get(column.name)
    if not column.is_moment:
        found = moment_formats(table, name) or moment_formats(_digits_as_numbers(table, name), name)
        if not found:
            _refuse_time(table, name)
        form = found[0]
    elif form is not None and len(found := moment_formats(table, name)) > 1:
        form = ask(f"how are the moments in {name} written?", found, form)
        if ask is assume:
            assumed = (
                f"{name} is written as {form}, though {found[1]} fits too; else: params.yaml, data.formats"
            )
    if column.nulls > _MOST_WITHOUT_TIME * column.rows:
        raise UsageError(
            f"--time: {column.nulls:,} of {column.rows:,} rows have no {name}",
            hint="name another column, or take only rows that have one",
        )
    from tidemill.data.profiling.text_values import conformed

    read = conformed(table, {}, {name: form} if form else {})
    dtype = read.collect_schema()[name]
    moments, zero = moments_of(name, dtype), datetime.fromtimestamp(0, UTC)
    later, zeros = (moments > SystemClock().now()).sum(), (moments == zero).sum()
    asked = read.select(low=moments.min(), high=moments.max(), later=later, zeros=zeros)
    first, last, later, zeros = asked.collect(engine="streaming").row(0)
    zoned = bool(getattr(dtype, "time_zone", None))
    return TimeChoice(name, form, first, last, assumed, zoned, later, zeros if last.year > zero.year else 0)


def _digits_as_numbers(table: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Return the table with a column of text as whole numbers, if all are: CSV files hold only text."""
    number = cell_value(name).cast(pl.Int64, strict=False)
    others = table.select((number.is_null() & cell_value(name).is_not_null()).any()).collect(
        engine="streaming"
    )
    return table if others.item() else table.with_columns(number.alias(name))


def _refuse_time(table: pl.LazyFrame, name: str) -> None:
    if table.collect_schema()[name] == pl.String and (two := several_formats(table, name)):
        raise UsageError(
            f"--time: the moments in {name} are written in several ways, as {two[0]!r} and {two[1]!r}",
            hint="write all alike in the source, as 2013-12-31T10:15:00+01:00; or name another column",
        )
    shown = ", ".join(repr(value) for value in no_moments(table, name))
    raise UsageError(
        f"--time: {name} cannot be read as moments: it has values such as {shown}",
        hint="write moments like 2013-12-31 or 2013-12-31T10:15:00+01:00, 31.12.2013 10:15, 12/31/2013, or "
        "seconds since 1970; or name another column",
    )
