"""Decides all that a project declares about a table, and says what was assumed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

import polars as pl

from tidemill.clock import SystemClock, parse_duration
from tidemill.data.profiling.table_profile import ColumnProfile, TableProfile
from tidemill.data.profiling.text_values import Readings, conformed, infer_readings
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import DataError, UsageError
from tidemill.plurals import counted
from tidemill.quickstart.feature_choice import Features, choose_features
from tidemill.quickstart.init_options import Ask, InitOptions, existing_column
from tidemill.quickstart.label_delay import ask_labels_after
from tidemill.quickstart.target_choice import TargetChoice, choose_target
from tidemill.quickstart.time_and_key import TimeChoice, choose_key, choose_time
from tidemill.quickstart.time_periods import FEWEST, MOST, SHARE, Periods, choose_periods
from tidemill.tasks.task_names import DEFAULT_METRIC

__all__ = ["Assumption", "Choices", "Split", "choose"]

_SEARCHED = 20_000
"""Rows that a trial is fitted on, in tables that have more."""
_CLASSES = 12
"""More different values than so many numbers are no classes."""
_COLUMNS_WITH_UNITS = 2
_SHOWN = 4
_SIDES = 3
"""Training, validation and hold-out: a stratified split has rows of each class on each."""


class Assumption(NamedTuple):
    """One thing that was found or assumed, and where it is changed."""

    subject: str
    text: str
    where: str


class Split(NamedTuple):
    """How rows are split."""

    by: Literal["time", "random", "stratified", "group"]
    periods: Periods | None
    """By time: the validation and the hold-out."""
    holdout_rows: int
    """About how many rows are held out."""
    not_by_time: str | None = None
    """Why rows with a time are split otherwise."""


@dataclass(frozen=True)
class Choices:
    """What a project declares about a table."""

    profile: TableProfile
    target: TargetChoice
    time: TimeChoice | None
    yet_to_come: str | None
    """A column of moments that is no time, as all of them are later than now."""
    key: str | None
    key_assumed: str | None
    """How the key was found; None if it was named, or there is none."""
    key_repeats: bool
    """Whether several rows have the same key."""
    readings: Readings
    """How the text of the table is read."""
    labels_after: str | None
    split: Split
    features: Features

    @property
    def search_rows(self) -> int | None:
        """Rows that trials are fitted on; None: all."""
        return _SEARCHED if self.profile.rows > 1.5 * _SEARCHED else None

    @property
    def group(self) -> str | None:
        """The column whose rows of one value stay on one side of a split."""
        return self.key if self.split.by == "group" else None


def choose(
    raw: pl.LazyFrame,
    table: pl.LazyFrame,
    profile: TableProfile,
    readings: Readings,
    options: InitOptions,
    ask: Ask,
) -> Choices:
    """Decide what a project declares.

    Args:
        raw: the table as it was read.
        table: the table with text read as what it means.
        profile: of ``table``.
        readings: how the text in ``raw`` is read.
        options: what is said about it.
        ask: asks about the rest.

    Raises:
        UsageError: a wish does not fit the table.
        DataError: nothing can be learnt from the table.
    """
    if not profile.columns or not profile.rows:
        raise DataError("the table has no rows", hint="name a table with rows in --data")
    existing_column("--target", options.target, profile.columns)
    _check_first_row(raw, readings)
    if options.task in (None, "regression"):
        _check_numbers(profile.columns[options.target], readings)
    target = choose_target(table, profile.columns[options.target], options, ask)
    time, yet_to_come = _past(choose_time(raw, profile, options, readings.formats, ask), options)
    if options.labels_after is not None:
        _check_duration(options.labels_after, time)
    labels_after = options.labels_after or (ask_labels_after(profile, time, ask) if time else None)
    found = choose_key(table, profile, options, time.column if time else None, ask)
    key = found.column if found else None
    repeats = key is not None and not profile.columns[key].is_unique
    split = _split(_periods(raw, readings, target, time, labels_after), target, time, repeats)
    if split.by == "stratified":
        _check_strata(target)
    if split.by == "group" and key is not None:
        _check_groups(profile.columns[key])
        split = split._replace(holdout_rows=min(split.holdout_rows, 2 * _fewest_held(table, key, target)))
    return Choices(
        profile=profile,
        target=target,
        time=time,
        yet_to_come=yet_to_come,
        key=key,
        key_assumed=found.assumed if found else None,
        key_repeats=repeats,
        readings=readings,
        labels_after=labels_after,
        split=split,
        features=choose_features(profile, target, time, key, ask, readings.months),
    )


def _past(time: TimeChoice | None, options: InitOptions) -> tuple[TimeChoice | None, str | None]:
    """Return the time if some of it has passed; else its column, of whose rows no label can be known.

    Raises:
        UsageError: that column was named.
    """
    if time is None or not time.later or time.first <= SystemClock().now():
        return time, None
    if options.time is None:
        return None, time.column
    raise UsageError(
        f"--time: all moments in {time.column} are later than now, from {time.first:%Y-%m-%d} on: no label "
        "can be known yet",
        hint="check how they are written, or name the column with the moment of the prediction",
    )


def _check_first_row(raw: pl.LazyFrame, readings: Readings) -> None:
    """Refuse a first row whose text alone keeps several columns from being numbers: it says their units."""
    odd = list(readings.nearly_numbers)
    first = raw.select(literal_names(odd)).head(1).collect()
    odd = [name for name in odd if first[name].item() == readings.nearly_numbers[name]]
    if len(odd) < _COLUMNS_WITH_UNITS:
        return
    rest = infer_readings(raw.select(literal_names(odd)).slice(1))
    if len(rest.types) < _COLUMNS_WITH_UNITS:
        return
    units = ", ".join(f"{name} {first[name].item()!r}" for name in odd[:_SHOWN])
    raise DataError(
        f"the row below the names holds no values but, as it seems, units: {units}"
        + (", …" if len(odd) > _SHOWN else ""),
        hint="remove that line of the file",
    )


def _check_numbers(target: ColumnProfile, readings: Readings) -> None:
    odd = readings.nearly_numbers.get(target.name)
    if odd is not None and target.distinct > _CLASSES:
        raise DataError(
            f"the target {target.name} is text: most of its values are numbers, but {odd!r} is not",
            hint="give all values the same unit, € or %, or none, and empty those that are no numbers"
            + ("; if it has classes, say --task multiclass" if target.distinct <= 1000 else ""),
        )


def _check_duration(text: str, time: TimeChoice | None) -> None:
    try:
        parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--labels-after {text}: {error}", hint="write it like 2d or 6h") from error
    if time is None:
        raise UsageError(
            "--labels-after needs a time: the label is known so long after it",
            hint="name the column with the moment of the prediction in --time",
        )


def _periods(
    raw: pl.LazyFrame, readings: Readings, target: TargetChoice, time: TimeChoice | None, after: str | None
) -> Periods | None:
    if time is None:
        return None
    formats = {**readings.formats, **({time.column: time.format} if time.format else {})}
    delay = parse_duration(after) if after else timedelta(0)
    both = raw.select(literal_names((time.column, target.column)))
    read = conformed(both, readings.types, formats, readings.gaps)
    return choose_periods(read, time.column, target.column, delay, SystemClock().now())


def _split(periods: Periods | None, target: TargetChoice, time: TimeChoice | None, repeats: bool) -> Split:
    if periods is not None:
        return Split("time", periods, periods.holdout_rows)
    why = f"no last days have {FEWEST:.0%} to {MOST:.0%} of the rows, with different labels" if time else None
    by: Literal["group", "stratified", "random"] = "stratified" if target.classes else "random"
    return Split("group" if repeats else by, None, round(target.labelled * SHARE), why)


def _fewest_held(table: pl.LazyFrame, key: str, target: TargetChoice) -> int:
    """Return the rows of the smallest groups that can be the hold-out."""
    labelled = table.filter(pl.col(literal_name(target.column)).is_not_null())
    sizes = (
        labelled.group_by(literal_name(key)).len("rows").select("rows").collect(engine="streaming")["rows"]
    )
    return int(sizes.sort().head(max(1, round(len(sizes) * SHARE))).sum())


def _check_strata(target: TargetChoice) -> None:
    rare = [f"{name!r} ({rows})" for name, rows in target.rows.items() if rows < _SIDES]
    if rare:
        raise DataError(
            f"the target {target.column} has classes with fewer than {_SIDES} rows: {', '.join(rare)}",
            hint="a class needs rows to train on, to choose a model by, and to judge it by: add rows, merge "
            "the class with another, or remove them",
        )


def _check_groups(key: ColumnProfile) -> None:
    if key.distinct < _SIDES:
        raise UsageError(
            f"--key: {key.name} has {counted(key.distinct, 'value')} in {key.rows:,} rows, and rows of one "
            f"stay on one side of the split: it needs at least {_SIDES}",
            hint="name a column that tells the rows apart, or leave --key out",
        )


def default_metric(choices: Choices) -> str:
    """Return the metric that trials and versions are judged by."""
    return DEFAULT_METRIC[choices.target.task]
