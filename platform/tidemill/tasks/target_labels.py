"""Read a column of labels as a task means them; what is not a label of the task is set aside and counted."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from tidemill.clock import utc
from tidemill.errors import DataError
from tidemill.plurals import agreeing, counted
from tidemill.tasks.answer_fields import truth_classes

__all__ = [
    "Labels",
    "as_class_numbers",
    "as_json",
    "as_numbers",
    "class_names",
    "class_number",
    "class_text",
    "iso_text",
    "shown_class",
]

_SHOWN = 5
_WHOLE = re.compile(r"^[ \t\r\n]*(-?(?:0|[1-9][0-9]*))(?:\.0*)?[ \t\r\n]*$")
"""Text that is a whole number; compared by its digits, as floats hold only 15 of them exactly."""


class Labels(NamedTuple):
    """Labels as a task means them."""

    values: pl.Series
    """One a row: numbers, the numbers of classes, or JSON; null where there is no label or a wrong one."""
    wrong: Mapping[str, int]
    """Values that are no labels of the task, with their numbers of rows, the most frequent first."""

    @property
    def wrong_rows(self) -> int:
        """Return the number of rows whose label is wrong."""
        return sum(self.wrong.values())

    def described(self) -> str:
        """Return the wrong values and their numbers of rows in a phrase.

        >>> Labels(pl.Series([None, None, None]), {"2": 2, "3": 1}).described()
        '2 (2 rows), 3 (1 row)'
        """
        counts = list(self.wrong.items())
        words = [f"{value} ({count:,} {'row' if count == 1 else 'rows'})" for value, count in counts[:_SHOWN]]
        more = len(counts) - _SHOWN
        return ", ".join(words) + (f", and {more:,} more values" if more > 0 else "")

    def required(self, where: str, meant: str, hint: str) -> pl.Series:
        """Return the values, if none is missing or wrong.

        Args:
            where: named in errors, such as ``data/training_set.parquet, column late``.
            meant: what a label must be, such as ``0 or 1``.
            hint: what to do about wrong ones.

        Raises:
            DataError: some are; the message counts them by value.
        """
        if self.wrong:
            raise DataError(
                f"{where}: {self.wrong_rows:,} of {counted(self.values.len(), 'label')} "
                f"{agreeing(self.wrong_rows, 'is', 'are')} not {meant}: "
                f"{self.described()}",
                hint=hint,
            )
        if empty := self.values.null_count():
            raise DataError(
                f"{where}: {empty:,} of {counted(self.values.len(), 'label')} "
                f"{agreeing(empty, 'is', 'are')} null",
                hint="leave out the rows that have no label",
            )
        return self.values


def shown_class(name: str) -> str:
    """Return a class for a list of classes in a message: in quotes if it has a comma, or spaces around it.

    >>> print(", ".join(map(shown_class, ("near", "far ", "1,5"))))
    near, 'far ', '1,5'
    """
    return repr(name) if "," in name or name != name.strip() else name


def class_text(value: object) -> str:
    """Return the text by which classes are compared: 1, 1.0, "1" and "1.0" are one class.

    >>> [class_text(value) for value in (1, 1.0, True, "no", 2.5, "1.0", "007", Decimal("2.00"))]
    ['1', '1', 'true', 'no', '2.5', '1', '007', '2']
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.tzinfo is None and value.time() == time():
        return str(value.date())
    found = _WHOLE.match(str(value)) if isinstance(value, str | Decimal) else None
    if found is None:
        return str(value)
    return "0" if found[1] == "-0" else found[1]


def as_class_numbers(labels: pl.Series, classes: Sequence[str]) -> Labels:
    """Return the place of each label in ``classes``, as Int32.

    Args:
        labels: text, numbers or truth values; NaN counts as null. Where the classes are 0 and 1, true and
            false are labels too, in any case; where they are true and false, so are 0 and 1.
        classes: as `class_text` writes them.

    >>> as_class_numbers(pl.Series([True, None, False]), ["0", "1"]).values.to_list()
    [1, None, 0]
    >>> as_class_numbers(pl.Series([1, None, 0]), ["True", "False"]).values.to_list()
    [0, None, 1]
    >>> found = as_class_numbers(pl.Series(["b", "a", "z", "z"]), ["a", "b"])
    >>> found.values.to_list(), found.described()
    ([1, 0, None, None], "'z' (2 rows)")
    """
    text = _as_text(labels)
    places = {name: place for place, name in enumerate(classes)}
    values = text.replace_strict(places, default=None, return_dtype=pl.Int32)
    if others := {spelled: places[name] for spelled, name in _other_spellings(classes).items()}:
        spelled = text.str.to_lowercase().replace_strict(others, default=None, return_dtype=pl.Int32)
        values = pl.select(pl.coalesce(values, spelled)).to_series().alias(labels.name)
    return Labels(values, _counted(labels.filter(text.is_not_null() & values.is_null())))


def class_number(value: object, classes: Sequence[str], meant: str) -> int:
    """Return the place of one label in ``classes``, by the rules of `as_class_numbers`.

    Raises:
        ValueError: it is not a label of the task; the message says what it must be (``meant``).

    >>> [class_number(value, ["0", "1"], "0 or 1") for value in (1, "1", 1.0, True, "0", "false")]
    [1, 1, 1, 1, 0, 0]
    >>> class_number(True, ["True", "False"], "True or False")
    0
    """
    if isinstance(value, str | int | float | Decimal | date):
        text = class_text(value)
        name = text if text in classes else _other_spellings(classes).get(text.lower())
        if name is not None:
            return classes.index(name)
    raise ValueError(f"must be {meant}")


def _other_spellings(classes: Sequence[str]) -> dict[str, str]:
    """Return text in lower case that means a class beside its name, as true and 1 do.

    >>> _other_spellings(["0", "1"]), _other_spellings(["no", "yes"])
    ({'true': '1', 'false': '0'}, {})
    >>> _other_spellings(["False", "True"])
    {'true': 'True', 'false': 'False', '1': 'True', '0': 'False'}
    """
    if set(classes) == {"0", "1"}:
        return {"true": "1", "false": "0"}
    truths = truth_classes(classes)
    found = {str(value).lower(): name for value, name in truths.items()}
    if len(truths) == len(classes):
        found |= {str(int(value)): name for value, name in truths.items()}
    return found


def class_names(numbers: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Return the names of classes by their numbers, null where there is none.

    >>> class_names(pl.Series([1, None]), ["no", "yes"]).to_list()
    ['yes', None]
    """
    return numbers.replace_strict(
        list(range(len(classes))), list(classes), default=None, return_dtype=pl.String
    )


def as_numbers(labels: pl.Series) -> Labels:
    """Return labels as finite Float64 numbers.

    >>> as_numbers(pl.Series(["1.5", "two", None, "inf"])).values.to_list()
    [1.5, None, None, None]
    """
    if labels.dtype.is_float():
        labels = labels.fill_nan(None)
    if labels.dtype.is_numeric() or labels.dtype == pl.Boolean:
        numbers = labels.cast(pl.Float64, strict=False)
    elif labels.dtype in (pl.String, pl.Categorical) or labels.dtype == pl.Enum:
        numbers = labels.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    else:  # moments, durations, lists: their casts, where there are any, give meaningless numbers
        numbers = pl.Series(labels.name, [None] * labels.len(), pl.Float64)
    values = pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series().alias(labels.name)
    return Labels(values, _counted(labels.filter(labels.is_not_null() & values.is_null())))


def as_json(labels: pl.Series) -> Labels:
    """Return labels as they are, dates and moments as text: a custom task takes any value that JSON has.

    >>> as_json(pl.Series([date(2024, 2, 29), None])).values.to_list()
    ['2024-02-29', None]
    >>> as_json(pl.Series([Decimal("1.50")])).values.to_list()
    [1.5]
    """
    if labels.dtype not in (pl.Date, pl.Datetime, pl.Time):
        return Labels(labels.cast(pl.Float64) if labels.dtype.is_decimal() else labels, {})
    texts = [None if value is None else iso_text(value) for value in labels.to_list()]
    return Labels(pl.Series(labels.name, texts, pl.String), {})


def iso_text(value: object) -> str:
    """Return a date, a time or a moment in ISO 8601; moments in UTC.

    Raises:
        TypeError: it is none of them.

    >>> [iso_text(value) for value in (date(2024, 2, 29), datetime(2024, 2, 29, 8))]
    ['2024-02-29', '2024-02-29T08:00:00+00:00']
    """
    if isinstance(value, datetime):
        return utc(value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _as_text(labels: pl.Series) -> pl.Series:
    if labels.dtype == pl.Boolean or labels.dtype.is_integer():
        return labels.cast(pl.String)
    if labels.dtype in (pl.String, pl.Categorical) or labels.dtype == pl.Enum:
        text = labels.cast(pl.String)
        whole = text.str.extract(_WHOLE.pattern).replace("-0", "0")
        return pl.select(pl.coalesce(whole, text)).to_series().alias(labels.name)
    known = labels.fill_nan(None) if labels.dtype.is_float() else labels
    texts = [None if value is None else class_text(value) for value in known.to_list()]
    return pl.Series(labels.name, texts, pl.String)


def _counted(wrong: pl.Series) -> dict[str, int]:
    if not wrong.len():
        return {}
    counts = wrong.alias("value").value_counts(sort=True).rows()
    return {repr(value): count for value, count in counts}
