"""Reads which rows a monitor looks at, and with which it compares them. Imports no engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator

from tidemill.clock import parse_duration

__all__ = ["Against", "Duration", "LatestRows", "Season", "WindowLength"]

Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A positive length of time, written as in ``14d``."""

_FEWEST = 10


@dataclass(frozen=True)
class LatestRows:
    """A window of the latest predictions, however long ago they were."""

    rows: int
    """How many; those of the same moment as the first one count, too."""


@dataclass(frozen=True)
class Season:
    """The same span of time, one season earlier."""

    season: timedelta
    """How much earlier: seven days for the week before, 365 for the year before."""


def _window_length(value: object) -> timedelta | LatestRows:
    if isinstance(value, LatestRows):
        return value
    if not isinstance(value, Mapping):
        return parse_duration(value)
    rows = value.get("rows")
    if len(value) != 1 or not isinstance(rows, int) or isinstance(rows, bool) or rows < _FEWEST:
        raise ValueError(
            f"must be a duration such as 14d, or {{rows: 5000}} with at least {_FEWEST} rows; it is {value!r}"
        )
    return LatestRows(rows)


def _against(value: object) -> object:
    if isinstance(value, Season) or value in ("training", "previous"):
        return value
    if isinstance(value, Mapping) and value.keys() == {"season"}:
        return Season(parse_duration(value["season"]))
    raise ValueError(f"must be training, previous or {{season: 365d}}; it is {value!r}")


WindowLength = Annotated[timedelta | LatestRows, BeforeValidator(_window_length)]
"""A length of time, or a number of the latest predictions: ``14d``, ``{rows: 5000}``."""

Against = Annotated[Literal["training", "previous"] | Season, BeforeValidator(_against)]
"""What drift is measured from: training rows, the window before of the same length, or a season ago."""
