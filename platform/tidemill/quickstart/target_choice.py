"""Decides what kind of prediction a column asks for, or says why it can be none."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tidemill.clock import is_number
from tidemill.data.profiling.table_profile import ColumnProfile
from tidemill.data.tables.column_names import literal_name
from tidemill.errors import DataError, UsageError
from tidemill.plurals import counted
from tidemill.project.gap_words import class_gaps
from tidemill.quickstart.init_options import Ask, InitOptions, alike
from tidemill.tasks.target_labels import class_text
from tidemill.tasks.task_choice import MOST_CLASSES, guess_task
from tidemill.tasks.task_names import TaskName

__all__ = ["TargetChoice", "can_be_target", "choose_target", "gaps_in_classes"]

_MOST_MISSING = 0.9
_FEW = 20
"""A column that is called an id may be a class if it has no more values."""
_MOST_CLASSES_EVER = 1000
_MOST_CODES = 10
"""More different whole numbers than this are counts or ratings rather than classes."""
_FEW_CODES = 4
"""So many are classes though one has a single row; of more, that is the end of a range of amounts."""
_CODE = re.compile(r"[A-Z]{2}")
"""Of a continent, a country or a state: NA is one of these, too."""
_ID = r"^[+-]?(0\d+|\d{19,})$"
_POSITIVE = (
    "1", "true", "yes", "y", "t", "positive", "pos",
    "ja", "oui", "si", "sí", "sì", "sim", "tak", "ano", "igen", "evet", "kyllä",
    "да", "так", "ναι", "はい", "是", "예", "نعم",
    "wahr", "vrai", "verdadero", "vero",
)  # fmt: skip
"""What stands for yes, in languages of many tables."""


@dataclass(frozen=True)
class TargetChoice:
    """What is predicted."""

    column: str
    task: TaskName
    rows: Mapping[str, int]
    """Rows of each class, in the order of the classes; empty for regression."""
    labelled: int
    """Number of rows that have a target."""
    missing: int
    """Number of rows that have none, which no model learns from."""
    positive: str | None = None
    """Of two classes: the one whose probability is predicted."""
    assumed: str | None = None
    """What was assumed and could be otherwise, as a sentence."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes."""
        return tuple(self.rows)

    @property
    def alike(self) -> list[list[str]]:
        """Classes that differ by case or by spaces around them only, and are probably one."""
        return alike(self.rows)

    @property
    def are_zero_and_one(self) -> bool:
        """Whether the classes are 0 and 1, or false and true, which need no declaration."""
        plain = set(self.classes) in ({"0", "1"}, {"false", "true"})
        return plain and self.positive in ("1", "true")


def choose_target(
    table: pl.LazyFrame, profile: ColumnProfile, options: InitOptions, ask: Ask
) -> TargetChoice:
    """Decide on the task, the classes and the positive one.

    Raises:
        DataError: nothing can be learnt from this column; the message says why.
        UsageError: a wish does not fit the column, or its type cannot be predicted.
    """
    _check_filled(profile)
    name = literal_name(profile.name)
    counts = (
        table.select(pl.col(name).alias("value"))
        .filter(pl.col("value").is_not_null())
        .group_by("value")
        .len()
        .sort("value")
        .collect(engine="streaming")
    )
    if options.task == "custom":
        raise UsageError(
            "--task custom: a task of your own needs a model and a metric of your own",
            hint="docs/tasks/custom.md shows the smallest such project; start from `tidemill init --example`",
        )
    guessed, _ = guess_task(counts["value"])
    task, assumed = _task(guessed, profile, counts, options, ask)
    if task == "regression":
        if options.positive is not None:
            raise UsageError(
                f"--positive: {profile.name} has no classes: the task is regression",
                hint="leave --positive out; for two classes name a column of two values, or make one",
            )
        return TargetChoice(profile.name, task, {}, profile.known, profile.nulls, assumed=assumed)
    rows: Counter[str] = Counter()
    for value, count in counts.rows():
        rows[class_text(value)] += count
    _check_classes(profile.name, rows)
    if task == "multiclass":
        if options.positive is not None:
            raise UsageError(
                f"--positive: {profile.name} has {counted(len(rows), 'class', 'classes')}, not two",
                hint="leave --positive out: the probabilities of all classes are predicted",
            )
        return TargetChoice(profile.name, task, rows, profile.known, profile.nulls, assumed=assumed)
    positive, why = _positive(profile.name, rows, options.positive, ask)
    return TargetChoice(profile.name, task, rows, profile.known, profile.nulls, positive, assumed or why)


def gaps_in_classes(table: pl.LazyFrame, profile: ColumnProfile) -> tuple[str, ...]:
    """Return the text that means a gap in a column of classes; none where it has no such text, or as a class.

    >>> sexes = pl.LazyFrame({"sex": ["MALE", "FEMALE", "NA"]})
    >>> from tidemill.data.profiling.table_profile import profile_table
    >>> "na" in gaps_in_classes(sexes, profile_table(sexes).columns["sex"])
    True
    """
    if not profile.is_text or profile.distinct > _MOST_CLASSES_EVER:
        return ()
    column = pl.col(literal_name(profile.name)).cast(pl.String)
    values = table.select(column.drop_nulls().unique()).collect(engine="streaming").to_series().to_list()
    words = class_gaps(())
    classes = [value for value in values if value.strip().lower() not in words]
    if len(classes) in (len(values), 0) or all(map(_CODE.fullmatch, classes)):
        return ()
    return words


def can_be_target(profile: ColumnProfile) -> bool:
    """Return whether a column may be predicted: it has several values of a fitting type, no ids."""
    try:
        _check_filled(profile)
    except (DataError, UsageError):
        return False
    return not (
        profile.looks_like_id or profile.identifies or (profile.is_named_id and profile.distinct > _FEW)
    )


def _check_filled(profile: ColumnProfile) -> None:
    name = profile.name
    if profile.dtype.is_nested() or profile.dtype.is_temporal() or profile.dtype == pl.Binary:
        raise UsageError(
            f"the target {name} is of type {profile.dtype}: what is predicted is a number, text, or true and "
            "false",
            hint="choose another --target, or make such a column of it, as hours until then of a moment; "
            "lists are of a custom task: docs/tasks/custom.md",
        )
    if profile.known == 0:
        raise DataError(
            f"the target {name} has no value in any row", hint="choose another --target, or fill it in"
        )
    if profile.nulls >= _MOST_MISSING * profile.rows:
        raise DataError(
            f"the target {name} is missing in {profile.nulls / profile.rows:.0%} of the rows: only "
            f"{profile.known:,} of {profile.rows:,} have one",
            hint="is it the right column? If the labels come later, take only rows that have theirs already",
        )
    if profile.distinct == 1:
        raise DataError(
            f"the target {name} has one value in all rows, {profile.typical!r}: there is nothing to learn",
            hint="choose another --target, or add rows with other values",
        )


def _task(
    guessed: TaskName, profile: ColumnProfile, counts: pl.DataFrame, options: InitOptions, ask: Ask
) -> tuple[TaskName, str | None]:
    name, values = profile.name, counts["value"]
    numeric = values.dtype.is_numeric()
    if options.task is None:
        if guessed == "custom":
            raise UsageError(
                f"--target: {name} has {profile.distinct:,} different texts, too many to be classes",
                hint="choose another column, or merge rare values until there are few"
                + ("; say --task multiclass if all are classes" if len(values) <= _MOST_CLASSES_EVER else ""),
            )
        if guessed == "binary" or not numeric or len(values) > MOST_CLASSES or not _are_whole(values):
            return guessed, None
        low, high = class_text(values.min()), class_text(values.max())
        many = len(values) > _MOST_CODES or (len(values) > _FEW_CODES and counts["len"].min() == 1)
        answer = ask(
            f"classes, or an amount? {name} has {len(values)} whole numbers from {low} to {high}",
            ("multiclass", "regression"),
            "regression" if many else "multiclass",
        )
        if answer == "regression":
            return "regression", (
                f"its {len(values)} whole numbers are amounts; if they are classes: --task multiclass"
            )
        return "multiclass", (
            f"its {len(values)} whole numbers are classes; if they are amounts: --task regression"
        )
    if options.task == "regression" and values.dtype == pl.String and values.str.contains(_ID).any():
        raise UsageError(
            f"--task regression: {name} has numbers with zeros in front or of more than 18 digits, which "
            "stay text, as ids do",
            hint="choose an amount; write it without these zeros, or in another unit with fewer digits",
        )
    if options.task == "regression" and not numeric:
        raise UsageError(
            f"--task regression: {name} holds {_kind(values)}, not numbers",
            hint="leave --task out: two values are two classes; for an amount, write 0 and 1"
            if values.dtype == pl.Boolean
            else "choose a column of numbers, or write its values as numbers, such as 12.5"
            + ("; for classes leave --task out" if guessed != "custom" else ""),
        )
    if options.task == "binary" and len(values) != 2:
        raise UsageError(
            f"--task binary: {name} has {len(values):,} different values, not two",
            hint="leave --task out, or make a column with two values of it",
        )
    if options.task == "multiclass" and len(values) > _MOST_CLASSES_EVER:
        raise UsageError(
            f"--task multiclass: {name} has {len(values):,} different values",
            hint=f"more than {MOST_CLASSES} classes are seldom learnt: merge rare ones",
        )
    return options.task, None


def _are_whole(values: pl.Series) -> bool:
    return not values.dtype.is_float() or bool((values == values.floor()).all())


def _check_classes(name: str, rows: Mapping[str, int]) -> None:
    single = [label for label, count in rows.items() if count == 1]
    if single:
        shown = ", ".join(map(repr, single[:5])) + (" …" if len(single) > 5 else "")
        raise DataError(
            f"the target {name} has {'a class' if len(single) == 1 else f'{len(single)} classes'} with one "
            f"row: {shown}",
            hint="a class needs rows to train on and rows to be judged by: add rows, merge the class with "
            "another, or remove that row"
            + ("; if these are amounts, say --task regression" if len(rows) > 10 else ""),
        )


def _positive(name: str, rows: Mapping[str, int], wished: str | None, ask: Ask) -> tuple[str, str | None]:
    classes = tuple(rows)
    if wished is not None:
        found = next((one for one in classes if one.lower() == class_text(wished).lower()), None)
        if found is None:
            raise UsageError(
                f"--positive: {name} has no class {wished!r}", hint=f"its classes: {', '.join(classes)}"
            )
        return found, None
    known = [one for one in classes if one.lower() in _POSITIVE]
    if all(is_number(one) for one in classes):
        known = [max(classes, key=float)]
    if len(known) == 1:
        return known[0], None
    rarer = min(classes, key=lambda one: (rows[one], one))
    answer = ask(f"whose probability is wanted, as {name} is {' or '.join(classes)}?", classes, rarer)
    return answer, f"{answer} is the class whose probability is predicted; else: --positive"


def _kind(values: pl.Series) -> str:
    return {pl.String: "text", pl.Boolean: "true and false"}.get(values.dtype, str(values.dtype))  # type: ignore[call-overload,no-any-return]
