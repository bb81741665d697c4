"""Examines one data set in batches: finds the rows that break each rule, and failures of the whole set."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pandera.polars as pa
import polars as pl

from tidemill.data.expectations.rules import DatasetRules
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.frames import batches
from tidemill.data.validation.dataset_checks import (
    Keys,
    check_freshness,
    check_references,
    check_volume,
    duplicate_keys,
    occurs,
    per_day,
    referred_keys,
    time_span,
)
from tidemill.data.validation.pandera_checks import RowRules, as_moments, coerced, comparable, row_rules
from tidemill.data.validation.row_reasons import REASON, reasons
from tidemill.data.validation.row_validation import examine
from tidemill.data.validation.validation_report import CheckOutcome, Kind, SetReport
from tidemill.plurals import agreeing, counted

__all__ = ["CheckInputs", "Writer", "WriterFactories", "examine_set"]


class Writer(Protocol):
    """Writes the passing or the failing rows, batch by batch."""

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows."""

    def close(self) -> None:
        """Finish writing."""


@dataclass(frozen=True)
class CheckInputs:
    """One data set and all inputs of its checks."""

    name: str
    rules: DatasetRules
    table: pl.LazyFrame
    others: Mapping[str, pl.LazyFrame]
    """The data sets that it refers to, in their declared types."""
    pandera: pa.DataFrameSchema | None
    as_of: datetime | None
    earlier: list[Mapping[str, Any]]
    """Its reports in earlier versions, newest first."""


@dataclass(frozen=True)
class WriterFactories:
    """Factories of the writers for passing and failing rows, called once the columns are known."""

    accepted: Callable[[pl.Schema], Writer] | None = None
    rejected: Callable[[pl.Schema], Writer] | None = None
    failing: Callable[[pl.Schema], Writer] | None = None
    """Rows that fail, in mode ``warn`` too."""


@dataclass
class _RunningCounts:
    """The counts so far."""

    rows: int = 0
    bad: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    orphans: dict[str, int] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """The checks of one data set, and the facts of all its rows that they need."""

    asked: CheckInputs
    casts: Mapping[str, pl.Expr]
    row: RowRules
    copies: Mapping[str, Keys]
    references: Mapping[str, Keys]
    unfollowed: tuple[CheckOutcome, ...]
    latest: tuple[str, pl.Expr] | None
    """The rule that no row is in the future, and the expression for rows that break it."""


def examine_set(asked: CheckInputs, sides: WriterFactories, tell: Callable[[int], None]) -> SetReport:
    """Run all checks of a data set, and split its rows into passing and failing ones.

    Args:
        asked: the data set.
        sides: where to write its rows.
        tell: called with the number of finished rows.

    Raises:
        DataError: the data cannot be read to its end, or rows cannot be written.
    """
    raw = asked.table.collect_schema()
    if asked.rules.mode == "off":
        return _pass_through(asked, sides, raw, tell)
    plan, tally = _plan(asked, raw), _RunningCounts()
    typed = asked.table.with_columns(plan.casts.values()).collect_schema()
    with_reason = pl.Schema([*raw.items(), (_reason_column(raw), pl.String())])
    accepted = sides.accepted(typed) if sides.accepted else None
    aside = [side(with_reason) for side in (sides.rejected, sides.failing) if side]
    kept_too = asked.rules.mode == "warn"
    for batch in _read(asked):
        rows = batch.with_columns(plan.casts.values())
        bad, reason = _judge(plan, batch, rows, tally)
        if accepted:
            accepted.write(rows if kept_too else rows.filter(~bad))
        failing = batch.filter(bad).with_columns(reason.alias(_reason_column(raw)))
        for writer in aside:
            if not (kept_too and sides.rejected and writer is aside[0]):
                writer.write(failing)
        tell(tally.rows)
    for writer in [*([accepted] if accepted else []), *aside]:
        writer.close()
    return _report(plan, tally)


def _read(asked: CheckInputs) -> Iterator[pl.DataFrame]:
    if asked.pandera is None:
        return batches(asked.table)
    return iter([asked.table.collect(engine="streaming")])  # its checks may look at all rows at once


def _reason_column(schema: pl.Schema) -> str:
    name = REASON
    while name in schema:
        name += "_"
    return name


def _pass_through(
    asked: CheckInputs, sides: WriterFactories, schema: pl.Schema, tell: Callable[[int], None]
) -> SetReport:
    accepted = sides.accepted(schema) if sides.accepted else None
    rows = 0
    for batch in batches(asked.table):
        rows += batch.height
        if accepted:
            accepted.write(batch)
        tell(rows)
    empty = [side for side in (sides.rejected, sides.failing) if side]
    with_reason = pl.Schema([*schema.items(), (_reason_column(schema), pl.String())])
    for writer in [*([accepted] if accepted else []), *(side(with_reason) for side in empty)]:
        writer.close()
    return SetReport("off", asked.rules.source, rows, rows, 0, 0, {}, ())


def _plan(asked: CheckInputs, raw: pl.Schema) -> _Plan:
    rules = asked.rules
    casts = coerced(rules, raw)
    typed = comparable(asked.table.with_columns(casts.values()))
    row = row_rules(rules, asked.table.with_columns(casts.values()).collect_schema())
    schema = typed.collect_schema()
    references, unfollowed = referred_keys(rules, schema, asked.others)
    fresh = rules.freshness
    latest = None
    if fresh and asked.as_of and fresh.column in row.sound:
        limit = asked.as_of + fresh.ahead if fresh.ahead else asked.as_of
        later = as_moments(fresh.column, schema[fresh.column]) > limit
        latest = (f"{fresh.column}: not after data.as_of", later)
    copies = duplicate_keys(rules, typed, row.sound)
    return _Plan(asked, casts, row, copies, references, tuple(unfollowed), latest)


def _judge(
    plan: _Plan, batch: pl.DataFrame, rows: pl.DataFrame, tally: _RunningCounts
) -> tuple[pl.Series, pl.Series]:
    """Return the bad rows of a batch and their reasons, and count them."""
    seen = comparable(rows)
    examined = examine(seen, plan.row.schema)
    masks, problems = dict(examined.rules), list(examined.problems)
    for name in plan.casts:
        lost = comparable(batch.select(literal_name(name)))[name].is_not_null() & seen[name].is_null()
        masks[f"{name}: can be {plan.asked.rules.columns[name].type}"] = lost
        if f"{name}: not null" in masks:
            masks[f"{name}: not null"] &= ~lost
    masks |= {rule: occurs(seen, keys) for rule, keys in plan.copies.items() if not keys.values.is_empty()}
    for rule, keys in plan.references.items():
        known = (pl.col(name).is_not_null() for name in literal_names(keys.columns))
        refers = seen.select(pl.all_horizontal(known)).to_series()
        orphans = refers & ~occurs(seen, keys)
        if keys.max_orphans is None:
            masks[rule] = orphans
        tally.orphans[rule] = tally.orphans.get(rule, 0) + int(orphans.sum())
    if plan.latest:
        masks[plan.latest[0]] = seen.select(plan.latest[1].fill_null(False)).to_series()
    if plan.asked.pandera is not None:
        own = examine(rows, plan.asked.pandera)
        problems += own.problems
        for rule, mask in own.rules.items():
            masks[rule] = masks[rule] | mask if rule in masks else mask
    return _count(batch, {rule: mask for rule, mask in masks.items() if mask.any()}, problems, tally)


def _count(
    batch: pl.DataFrame, masks: Mapping[str, pl.Series], problems: list[str], tally: _RunningCounts
) -> tuple[pl.Series, pl.Series]:
    bad = pl.repeat(False, batch.height, eager=True)
    for rule, mask in masks.items():
        bad |= mask
        tally.broken[rule] = tally.broken.get(rule, 0) + int(mask.sum())
    tally.rows += batch.height
    tally.bad += int(bad.sum())
    tally.problems |= dict.fromkeys(problems)
    return bad, reasons({rule: mask.filter(bad) for rule, mask in masks.items()})


def _report(plan: _Plan, tally: _RunningCounts) -> SetReport:
    rules = plan.asked.rules
    kinds: dict[str, Kind] = {f"{n}: can be {rules.columns[n].type}": "column" for n in plan.casts}
    kinds |= plan.row.kinds
    kinds |= dict.fromkeys(plan.copies, "unique")
    kinds |= {rule: "reference" for rule, keys in plan.references.items() if keys.max_orphans is None}
    kinds |= {plan.latest[0]: "freshness"} if plan.latest else {}
    kinds |= {rule: "schema" for rule in tally.broken if rule not in kinds}
    checks = [
        *plan.row.structure,
        *plan.row.skipped,
        *plan.unfollowed,
        *(_of_rows(rule, kind, tally.broken.get(rule, 0)) for rule, kind in kinds.items()),
        *(CheckOutcome(problem, "schema", "failed") for problem in tally.problems),
        *check_references(plan.references, tally.orphans, tally.rows),
        *_about_time_and_rows(plan, tally.rows),
        _share(rules.max_rejected, tally),
    ]
    stop = rules.mode == "stop"
    return SetReport(
        mode=rules.mode,
        source=rules.source,
        rows=tally.rows,
        accepted=tally.rows - tally.bad if stop else tally.rows,
        rejected=tally.bad if stop else 0,
        failing=tally.bad,
        broken=dict(tally.broken),
        checks=tuple(checks),
    )


def _of_rows(rule: str, kind: Kind, failing: int) -> CheckOutcome:
    return CheckOutcome(rule, kind, "rows fail" if failing else "passed", failing)


def _about_time_and_rows(plan: _Plan, rows: int) -> list[CheckOutcome]:
    asked, found = plan.asked, []
    typed = comparable(asked.table.with_columns(plan.casts.values()))
    schema = typed.collect_schema()
    if fresh := asked.rules.freshness:
        if fresh.column in plan.row.sound:
            past = typed.filter(~plan.latest[1]) if plan.latest else typed
            newest = time_span(past, schema, fresh.column)[1]
            found.append(check_freshness(fresh, newest, asked.as_of))
        else:
            found.append(_unknown(f"{fresh.column}: fresh", "freshness", fresh.column))
    if volume := asked.rules.volume:
        daily = None
        if volume.per_day and volume.per_day not in plan.row.sound:
            found.append(_unknown("rows a day", "volume", volume.per_day))
            volume = volume.model_copy(update={"change": None})
        elif volume.per_day:
            daily = per_day(rows, *time_span(typed, schema, volume.per_day))
        found += check_volume(volume, rows, daily, asked.earlier)
    return found


def _unknown(check: str, kind: Kind, column: str) -> CheckOutcome:
    return CheckOutcome(check, kind, "skipped", detail=f"it needs {column}: see structure")


def _share(limit: float, tally: _RunningCounts) -> CheckOutcome:
    share = tally.bad / tally.rows if tally.rows else 0.0
    bad = share > limit
    verb = agreeing(tally.bad, "is", "are")
    detail = (
        f"{tally.bad} of {counted(tally.rows, 'row')} {verb} bad ({share:.1%}; at most {limit:.1%} may be)"
    )
    return CheckOutcome(
        "share of bad rows",
        "share of bad rows",
        "failed" if bad else "passed",
        observed={"share": round(share, 6), "max_rejected": limit},
        detail=detail if bad else "",
    )
