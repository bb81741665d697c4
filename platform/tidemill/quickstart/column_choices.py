"""Decides which column is the time and which the key, and which columns are features."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

import polars as pl

from tidemill.data.profiling.leakage import Kind, find_leaks
from tidemill.data.profiling.table_profile import ColumnProfile, TableProfile
from tidemill.data.profiling.text_values import moment_formats, no_moments
from tidemill.data.tables.column_names import is_pattern, literal_name
from tidemill.errors import DataError, UsageError
from tidemill.project.feature_columns import ColumnType, Unseen
from tidemill.quickstart.target_choice import TargetChoice
from tidemill.quickstart.wishes import Ask, Wishes, existing_column

__all__ = [
    "FeatureChoice",
    "Features",
    "KeyChoice",
    "TimeChoice",
    "as_field",
    "choose_features",
    "choose_key",
    "choose_time",
    "moments_of",
]

_USUAL_TIMES = ("event_timestamp", "timestamp", "datetime", "time", "date", "created_at", "at", "day")
_MOST_WITHOUT_TIME = 0.05
_NOT_KNOWN_YET = 0.5
_FREQUENT = 5


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


@dataclass(frozen=True)
class KeyChoice:
    """The column that says what a row is about."""

    column: str
    assumed: str | None
    """How it was found; None if it was named."""


@dataclass(frozen=True)
class FeatureChoice:
    """A column that is a feature, as ``features.yaml`` declares it."""

    name: str
    type: ColumnType
    required: bool
    categories: tuple[str, ...]
    example: Any
    length: int = 0
    """Of a list: its number of elements."""
    unseen: Unseen = "unknown"
    """What happens to other texts than ``categories``."""


@dataclass(frozen=True)
class Features:
    """The features, and the columns that are left out."""

    chosen: tuple[FeatureChoice, ...]
    left_out: Mapping[str, str]
    """Column → the reason."""
    suspicious: Mapping[str, str]
    """Features that predict the target suspiciously well → how well."""


def choose_time(
    table: pl.LazyFrame, profile: TableProfile, wishes: Wishes, formats: Mapping[str, str], ask: Ask
) -> TimeChoice | None:
    """Choose the column with the moment of the prediction; None if there is none.

    Args:
        table: as it was read, before text was made to moments.
        profile: of the table after that.
        wishes: may name it.
        formats: columns of text that are moments, with their formats.
        ask: asks where several could be it.

    Raises:
        UsageError: there is no such column, its values cannot be read as moments, or many rows have none.
    """
    if wishes.time is not None:
        name = existing_column("--time", wishes.time, profile.columns)
        if name == wishes.target:
            raise UsageError(f"--time: {name} is the target", hint="the time is when the target is predicted")
        return _time(table, profile.columns[name], formats, ask, None)
    able = [
        one
        for one in profile.columns.values()
        if one.is_moment
        and not one.nulls
        and one.distinct > 2
        and one.personal is None
        and one.name != wishes.target
        and not is_pattern(one.name)
    ]
    if not able:
        return None
    usual = sorted(able, key=lambda one: _rank(one.name))
    chosen, assumed = usual[0], "assumed to be the moment of the prediction, else: --time"
    if len(able) > 1:
        answer = ask(
            "which column is the moment of the prediction?",
            (*(one.name for one in usual), "none"),
            chosen.name,
        )
        if answer == "none":
            return None
        chosen = profile.columns[answer]
        assumed = f"assumed to be the moment of the prediction, one of {len(able)} columns; else: --time"
    return _time(table, chosen, formats, ask, assumed)


def choose_key(
    table: pl.LazyFrame, profile: TableProfile, wishes: Wishes, time: str | None, ask: Ask
) -> KeyChoice | None:
    """Choose the column that says what a row is about; None if there is none.

    Raises:
        UsageError: there is no such column, or several rows have the same key and the same time.
    """
    if wishes.key is None:
        return _assumed_key(table, profile, wishes, time, ask)
    key = existing_column("--key", wishes.key, profile.columns)
    if key in (wishes.target, time):
        raise UsageError(
            f"--key: {key} is the {'target' if key == wishes.target else 'time'}", hint="name another column"
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
    table: pl.LazyFrame, profile: TableProfile, wishes: Wishes, time: str | None, ask: Ask
) -> KeyChoice | None:
    left = [
        one
        for one in profile.columns.values()
        if one.name not in (wishes.target, time)
        and not one.personal
        and not one.is_constant
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
    assumed = able[0] if able else "none"
    chosen = ask("which column says what a row is about?", (*able, *repeated, "none"), assumed)
    if chosen == "none":
        return None
    others = f", one of {len(able)} columns with a value of its own in each row;" if len(able) > 1 else ","
    return KeyChoice(chosen, f"assumed{others} else: --key")


def choose_features(
    profile: TableProfile, target: TargetChoice, time: TimeChoice | None, key: str | None, ask: Ask
) -> Features:
    """Choose the features among the columns, and give the reasons why the others are left out.

    Raises:
        DataError: none is left.
    """
    left_out: dict[str, str] = {}
    able: list[ColumnProfile] = []
    for one in profile.columns.values():
        if one.name in (target.column, key) or (time and one.name == time.column):
            continue
        if reason := _reason_against(one) or _known_later(profile, one, time):
            left_out[one.name] = reason
        else:
            able.append(one)
    kind = cast("Kind", target.task)
    found = find_leaks(profile.sample, target.column, kind, [one.name for one in able])
    leaks = {leak.column: leak.reason for leak in found if leak.certain}
    if leaks and len(leaks) == len(able):
        leaks = {name: why for name, why in leaks.items() if not why.startswith("predicts")}
    for name, why in list(leaks.items()):
        if ask(f"{name} {why}: leave it out?", ("yes", "no"), "yes") == "no":
            del leaks[name]
    left_out |= {name: f"a leak? It {why}" for name, why in leaks.items()}
    chosen = tuple(as_field(one, profile.sample) for one in able if one.name not in leaks)
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:6])
        raise DataError(
            f"no column is left as a feature of {target.column}" + (f": {reasons}" if reasons else ""),
            hint="add columns that are known before the target is",
        )
    suspicious = {leak.column: leak.reason for leak in found if leak.column not in leaks}
    return Features(chosen, left_out, suspicious)


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
        found = moment_formats(table, name)
        if not found:
            _refuse_time(table, name)
        form = found[0]
    elif form is not None and len(found := moment_formats(table, name)) > 1:
        form = ask(f"how are the moments in {name} written?", found, form)
        assumed = f"{name} is written as {form}, though {found[1]} fits too; else: params.yaml, data.formats"
    if column.nulls > _MOST_WITHOUT_TIME * column.rows:
        raise UsageError(
            f"--time: {column.nulls:,} of {column.rows:,} rows have no {name}",
            hint="name another column, or take only rows that have one",
        )
    from tidemill.data.profiling.text_values import conformed

    read = conformed(table, {}, {name: form} if form else {})
    dtype = read.collect_schema()[name]
    moments = moments_of(name, dtype)
    first, last = read.select(low=moments.min(), high=moments.max()).collect(engine="streaming").row(0)
    return TimeChoice(name, form, first, last, assumed, bool(getattr(dtype, "time_zone", None)))


def _refuse_time(table: pl.LazyFrame, name: str) -> None:
    shown = ", ".join(repr(value) for value in no_moments(table, name))
    raise UsageError(
        f"--time: {name} cannot be read as moments: it has values such as {shown}",
        hint="write moments like 2013-12-31 or 2013-12-31T10:15:00+01:00, 31.12.2013 10:15, 12/31/2013, or "
        "seconds since 1970; or name another column",
    )


def _reason_against(column: ColumnProfile) -> str | None:
    if is_pattern(column.name):
        return "its name reads as a pattern of names: rename it"
    if column.is_constant:
        return "always missing" if column.distinct == 0 else "one value in all rows"
    if isinstance(column.dtype, pl.List) and column.low != column.high:
        return f"lists of {column.low} to {column.high} elements: a feature has one length"
    if _type(column) is None:
        return f"of type {column.dtype}, which is not a feature"
    if column.identifies:
        return f"looks like {column.personal}"
    if column.looks_like_id:
        return "nearly every row has its own value" if column.is_text else "an id"
    return None


def _known_later(profile: TableProfile, column: ColumnProfile, time: TimeChoice | None) -> str | None:
    if time is None or not column.is_moment:
        return None
    sample = profile.sample
    if not isinstance(sample.schema[time.column], pl.Datetime | pl.Date):
        return None
    both = sample.select(
        (moments_of(column.name, column.dtype) > moments_of(time.column, sample.schema[time.column])).mean()
    )
    share = both.item()
    if share is None or share < _NOT_KNOWN_YET:
        return None
    return f"later than {time.column} in {share:.0%} of the rows: not known yet"


def _type(column: ColumnProfile) -> ColumnType | None:
    if column.dtype == pl.Boolean:
        return "truth"
    if column.dtype.is_integer():
        return "integer"
    if column.dtype.is_numeric():
        return "number"
    if column.is_text:
        return "text"
    if column.is_list_of_numbers:
        return "list"
    return "moment" if column.is_moment else None


def as_field(column: ColumnProfile, sample: pl.DataFrame) -> FeatureChoice:
    """Return a column as a field of requests."""
    kind = _type(column)
    assert kind is not None
    categories = column.values if kind == "text" else ()
    return FeatureChoice(
        name=column.name,
        type=kind,
        required=not column.nulls,
        categories=categories,
        unseen="flag" if categories and _are_all(sample[column.name]) else "unknown",
        example=_example(column.typical, kind),
        length=column.low if kind == "list" else 0,
    )


def _are_all(values: pl.Series) -> bool:
    """Return whether there are hardly other values: each of those that there are is frequent."""
    fewest: Any = values.drop_nulls().unique_counts().min()
    return bool(fewest is not None and fewest >= _FREQUENT)


def _example(value: Any, kind: ColumnType) -> Any:
    if kind == "list":
        return [float(f"{one:.4g}") for one in value]
    if kind == "number":
        return float(f"{float(value):.4g}")
    if kind == "moment":
        moment = value if isinstance(value, datetime) else datetime.combine(value, datetime.min.time())
        return moment.isoformat() + ("" if moment.tzinfo else "+00:00")
    return value
