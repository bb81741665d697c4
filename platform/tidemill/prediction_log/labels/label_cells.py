"""Reads the cells of a column of labels as what is logged of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import orjson
import polars as pl

from tidemill.clock import parse_moment
from tidemill.project.gap_words import GAPS_BESIDE_NUMBERS, class_gaps
from tidemill.tasks.task import Task

__all__ = ["LabelReader", "label_gaps"]


@dataclass(frozen=True)
class LabelReader:
    """Reads labels as they are logged."""

    task: Task
    trained: pl.DataType | None
    """The type that labels of training have; None if it is unknown, or does not matter."""
    gaps: tuple[str, ...] = ()
    """Text that means that there is no label, in lower case, as in tables of training."""

    @property
    def meant(self) -> str:
        """What a label must be."""
        if self.trained in (pl.Date, pl.Datetime):
            return "dates such as 2013-04-01" if self.trained == pl.Date else "moments in ISO 8601"
        return f"{self.task.meant}, as JSON" if self._is_json else self.task.meant

    @property
    def _is_json(self) -> bool:
        """Whether text is JSON, as labels of training are no text."""
        return self.trained is not None and self.trained not in (pl.String, pl.Time)

    def is_blank(self, value: Any) -> bool:
        """Return whether a cell holds no label; empty text is a label where labels are any text."""
        if isinstance(value, str):
            text = value.strip()
            return (
                text.lower() in self.gaps
                or (not text and (self._is_json or self.task.kind != "custom"))
                or (self._is_json and text == "null")
            )
        return value is None or (isinstance(value, float) and value != value)

    def read(self, value: Any) -> tuple[int | None, str | None]:
        """Return a label as `Task.label_given` does.

        Raises:
            ValueError: it is missing, or no label of the task.
        """
        if value is None:
            raise ValueError("the label is missing")
        if self.trained in (pl.Date, pl.Datetime):
            value = _day(value) if self.trained == pl.Date else _instant(value)
        elif self._is_json and isinstance(value, str):
            value = orjson.loads(value)
        return self.task.label_given(_without_decimals(value))


def label_gaps(task: Task, classes: Collection[object] | None) -> tuple[str, ...]:
    """Return the text that means that there is no label, in lower case; none where labels may be any text.

    Args:
        task: of the project.
        classes: that are declared; None for 0 and 1, or where there are none.
    """
    if task.kind == "custom":
        return ()
    return GAPS_BESIDE_NUMBERS if task.kind == "regression" else class_gaps(list(map(str, classes or ())))


def _without_decimals(value: Any) -> Any:
    """Return a value with decimals as JSON's numbers, at any depth.

    >>> _without_decimals({"q": [Decimal("1.50"), Decimal("2.00")]})
    {'q': [1.5, 2]}
    """
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list | pl.Series):
        return [_without_decimals(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_decimals(each) for name, each in value.items()}
    return value


def _day(value: Any) -> date:
    """Return a label as a date.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        return date.fromisoformat(value.strip())
    if isinstance(value, datetime) and value.time() == time():
        return value.date()
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("it is no date")
    return value


def _instant(value: Any) -> datetime:
    """Return a label as a moment.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        return parse_moment(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError("it is no moment")
    return value
