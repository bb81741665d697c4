"""Runs the checks of a whole data set: uniqueness, references, freshness, volume, share of bad rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import polars as pl

from tidemill.data.expectations.rules import DatasetRules, Freshness, Reference, Volume
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.column_types import spell_dtype
from tidemill.data.validation.pandera_checks import as_moments
from tidemill.data.validation.validation_report import CheckOutcome

__all__ = [
    "Keys",
    "check_freshness",
    "check_references",
    "check_volume",
    "duplicate_keys",
    "occurs",
    "per_day",
    "referred_keys",
    "time_span",
]

_MARK = "\0occurs"


@dataclass(frozen=True)
class Keys:
    """The values that references may have."""

    columns: tuple[str, ...]
    values: pl.DataFrame
    """Distinct values, with the names of ``columns``."""
    max_orphans: float | None = None


def duplicate_keys(rules: DatasetRules, table: pl.LazyFrame, sound: frozenset[str]) -> dict[str, Keys]:
    """Return for each set of columns that must be unique the values that occur more than once.

    Hashes are counted first, so that each key takes eight bytes of memory; values whose hash occurs more than
    once are then counted themselves.
    """
    sets = [(name,) for name, column in rules.columns.items() if column.unique] + list(rules.unique)
    return {
        f"{' + '.join(columns)}: unique": Keys(columns, _copies(table, columns))
        for columns in sets
        if set(columns) <= sound
    }


def _copies(table: pl.LazyFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    names = literal_names(columns)
    dtypes = [table.collect_schema()[column] for column in columns]
    if not any(
        dtype.is_nested() or dtype.is_float() for dtype in dtypes
    ):  # equal values of these types may have different hashes
        hashed = pl.struct(names).hash().alias(_MARK)
        counted = table.select(hashed).group_by(_MARK).agg(pl.len().alias("n")).filter(pl.col("n") > 1)
        twice = counted.collect(engine="streaming")[_MARK]
        if twice.is_empty():
            return table.select(names).head(0).collect()
        table = table.filter(hashed.is_in(twice.implode()))
    counted = table.group_by(names).agg(pl.len().alias(_MARK)).filter(pl.col(_MARK) > 1)
    return counted.select(names).collect(engine="streaming")


def referred_keys(
    rules: DatasetRules, schema: pl.Schema, others: Mapping[str, pl.LazyFrame]
) -> tuple[dict[str, Keys], list[CheckOutcome]]:
    """Return for each reference its valid values, and the references that cannot be resolved."""
    found, failed = {}, []
    for reference in rules.references:
        rule, other = _named(reference), others[reference.to]
        keys, theirs = reference.keys or reference.columns, other.collect_schema()
        problem = _unlike(reference.columns, schema, keys, theirs, reference.to)
        if problem:
            failed.append(CheckOutcome(rule, "reference", "failed", detail=problem))
            continue
        wanted = [
            pl.col(literal_name(key)).cast(schema[column], strict=False).alias(column)
            for column, key in zip(reference.columns, keys, strict=True)
        ]
        values = other.select(wanted).drop_nulls().unique().collect(engine="streaming")
        found[rule] = Keys(reference.columns, values, reference.max_orphans)
    return found, failed


def _named(reference: Reference) -> str:
    keys = ", ".join(reference.keys or reference.columns)
    return f"{' + '.join(reference.columns)}: in {reference.to} ({keys})"


def _unlike(
    columns: tuple[str, ...], schema: pl.Schema, keys: tuple[str, ...], theirs: pl.Schema, other: str
) -> str | None:
    for column, key in zip(columns, keys, strict=True):
        if column not in schema:
            return f"column {column!r} is missing"
        if key not in theirs:
            return f"{other} has no column {key!r}"
        ours, its = schema[column], theirs[key]
        zones = [getattr(dtype, "time_zone", None) for dtype in (ours, its)]
        alike = (
            ours == its
            or (ours.is_numeric() and its.is_numeric())
            or (isinstance(ours, pl.Datetime) and isinstance(its, pl.Datetime) and zones[0] == zones[1])
            or {type(ours), type(its)} <= {pl.String, pl.Categorical, pl.Enum}
        )
        if not alike:
            return (
                f"{column} ({spell_dtype(ours)}) cannot be compared with {other}.{key} ({spell_dtype(its)})"
            )
    return None


def occurs(frame: pl.DataFrame, keys: Keys) -> pl.Series:
    """Return for each row whether its values are among ``keys.values``; null equals null."""
    if keys.values.is_empty():
        return pl.repeat(False, frame.height, eager=True)
    names = literal_names(keys.columns)
    marked = frame.select(names).join(
        keys.values.with_columns(pl.lit(True).alias(_MARK)).cast(
            {name: frame.schema[column] for name, column in zip(names, keys.columns, strict=True)}
        ),
        on=names,
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return marked[_MARK].fill_null(False)


def check_references(keys: Mapping[str, Keys], orphans: Mapping[str, int], rows: int) -> list[CheckOutcome]:
    """Check the references that allow a share of orphans."""
    found = []
    for rule, reference in keys.items():
        if reference.max_orphans is None:
            continue
        share = orphans[rule] / rows if rows else 0.0
        observed = {
            "orphans": orphans[rule],
            "share": round(share, 6),
            "max_orphans": reference.max_orphans,
        }
        bad = share > reference.max_orphans
        detail = f"{share:.2%} lead nowhere; at most {reference.max_orphans:.2%} may" if bad else ""
        found.append(
            CheckOutcome(rule, "reference", "failed" if bad else "passed", observed=observed, detail=detail)
        )
    return found


def time_span(table: pl.LazyFrame, schema: pl.Schema, column: str) -> tuple[datetime | None, datetime | None]:
    """Return the oldest and the newest moment of a column."""
    moments = as_moments(column, schema[column])
    found = table.select(moments.min().alias("oldest"), moments.max().alias("newest"))
    oldest, newest = found.collect(engine="streaming").row(0)
    return oldest, newest


def check_freshness(freshness: Freshness, newest: datetime | None, as_of: datetime | None) -> CheckOutcome:
    """Check the age of the newest row at ``as_of``."""
    check = f"{freshness.column}: at most {freshness.max_age} old"
    if as_of is None:
        return CheckOutcome(check, "freshness", "skipped", detail="no data.as_of to be fresh at")
    if newest is None:
        return CheckOutcome(check, "freshness", "failed", detail="no row has a moment")
    age = as_of - newest
    stale = age > freshness.max_age
    observed = {"newest": newest.isoformat(), "as_of": as_of.isoformat(), "age_days": _days(age)}
    detail = f"the newest is {age} old at {as_of.isoformat()}" if stale else ""
    return CheckOutcome(check, "freshness", "failed" if stale else "passed", observed=observed, detail=detail)


def _days(age: timedelta) -> float:
    return round(age / timedelta(days=1), 4)


def per_day(rows: int, oldest: datetime | None, newest: datetime | None) -> float:
    """Return rows per day over a span of at least one day."""
    days = 1.0 if oldest is None or newest is None else (newest - oldest) / timedelta(days=1)
    return rows / max(days, 1.0)


def check_volume(
    volume: Volume, rows: int, daily: float | None, earlier: list[Mapping[str, Any]]
) -> list[CheckOutcome]:
    """Check the number of rows against its limits and against earlier versions of the data set.

    Args:
        volume: the declaration.
        rows: number of rows of the data set.
        daily: rows per day, if these are compared.
        earlier: the reports of this data set in earlier versions, newest first.
    """
    limits = {"min": volume.min, **({} if volume.max is None else {"max": volume.max})}
    bad = rows < volume.min or (volume.max is not None and rows > volume.max)
    says = f"at least {volume.min} rows" + ("" if volume.max is None else f", at most {volume.max}")
    detail = f"there are {rows}" if bad else ""
    found = [
        CheckOutcome(
            says, "volume", "failed" if bad else "passed", observed={"rows": rows, **limits}, detail=detail
        )
    ]
    if volume.change is None:
        return found
    unit = "rows" if daily is None else "rows a day"
    now = float(rows) if daily is None else daily
    says = f"{unit} changed by at most {volume.change:g}"
    before = [value for report in earlier if (value := _earlier(report, daily is not None)) is not None]
    observed: dict[str, Any] = {unit.replace(" ", "_"): round(now, 2)}
    usual = median(before) if before else 0.0
    if not usual:
        detail = "the earlier version was empty" if before else "there is no earlier version"
        return [*found, CheckOutcome(says, "volume", "skipped", observed=observed, detail=detail)]
    change = now / usual - 1
    observed |= {"before": round(usual, 2), "versions": len(before), "change": round(change, 4)}
    bad = abs(change) > volume.change
    detail = f"{now:,.0f} {unit}; before there were {usual:,.0f}" if bad else ""
    return [
        *found,
        CheckOutcome(says, "volume", "failed" if bad else "passed", observed=observed, detail=detail),
    ]


def _earlier(report: Mapping[str, Any], daily: bool) -> float | None:
    if not daily:
        rows = report.get("rows")
        return float(rows) if isinstance(rows, int) else None
    checks = report.get("checks")
    for check in checks if isinstance(checks, list) else ():
        rate = check.get("observed", {}).get("rows_a_day")
        if check.get("kind") == "volume" and isinstance(rate, int | float):
            return float(rate)
    return None
