"""Tells whether a target goes with the weekday, the hour or the month, beyond what the features tell."""

from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.quickstart.choices import Choices
from tidemill.quickstart.time_and_key import moments_of

__all__ = ["calendar_effects"]

Floats = npt.NDArray[np.float64]

_ROWS = 20_000
_FEW = 31
"""A column of no more different values is compared value by value: days of a month are."""
_DAYS = 400
"""A feature of no more values may be a part of the calendar."""
_MOST = 100
"""Columns of values and numbers, beyond which nothing is said."""
_KINDS = 6
"""Categories of a feature within which a part is looked at."""
_LEAST = 0.05
"""Share of what the features leave that a part of the calendar must explain."""
_BY_CHANCE = 4
"""Times as much as chance would bring."""
_RIDGE = 1e-6


def calendar_effects(choices: Choices) -> dict[str, float]:
    """Return part of the calendar → the share that it explains of what the features leave of the target.

    Both are told by least squares, with the features' numbers, categories and the course of time beside the
    part, which may go otherwise in each category of a feature. The month is asked of two years and more, the
    weekday of four weeks, the hour of one.
    """
    sample, time = choices.profile.sample, choices.time
    if time is None or not isinstance(sample.schema[time.column], pl.Datetime | pl.Date):
        return {}
    at = moments_of(time.column, sample.schema[time.column])
    target = choices.target.column
    rows = sample.filter(pl.lit(sample[target]).is_not_null()).with_columns(at.alias("\0at"))
    rows = rows.drop_nulls("\0at").gather_every(max(1, rows.height // _ROWS))
    if rows.height < 2 * _MOST:
        return {}
    known = [_columns(rows[feature.name]) for feature in choices.features.chosen if feature.type != "list"]
    given = np.hstack([np.ones((rows.height, 1)), _columns(rows["\0at"].dt.epoch("us")), *known])
    if given.shape[1] > _MOST:
        return {}
    truth = rows[target]
    answers = _columns(truth) if choices.target.task == "regression" else _each(truth.cast(pl.String))
    left, found = _left(given, answers), dict[str, float]()
    kinds = [one for one in known if 1 < one.shape[1] <= _KINDS]
    for name, part, units in _parts(rows["\0at"]):
        if any(_tells(rows[feature.name], part) for feature in choices.features.chosen):
            continue
        alone = _each(part)
        for values in (alone, *(_within(alone, kind) for kind in kinds)):
            share = 1 - _left(np.hstack([given, values]), answers) / left if left > 0 else 0.0
            if share >= max(_LEAST, found.get(name, 0.0), _BY_CHANCE * values.shape[1] / units):
                found[name] = share
    return found


def _tells(values: pl.Series, part: pl.Series) -> bool:
    """Return whether a feature is that part of the calendar already, or finer, as the day of the year."""
    pairs = pl.DataFrame({"value": values, "part": part})
    return values.n_unique() <= _DAYS and pairs.n_unique() == values.n_unique()


def _parts(at: pl.Series) -> list[tuple[str, pl.Series, int]]:
    """Return the parts of the calendar that the time is long enough for, and how often each was seen."""
    length: Any = at.max() - at.min()  # type: ignore[operator]
    days, hours = at.dt.truncate("1d").n_unique(), at.dt.truncate("1h").n_unique()
    parts = [
        ("hour", at.dt.hour(), hours, timedelta(days=7)),
        ("weekday", at.dt.weekday(), days, timedelta(days=28)),
        ("month", at.dt.month(), days, timedelta(days=730)),
    ]
    return [
        (name, part, units) for name, part, units, least in parts if length >= least and part.n_unique() > 1
    ]


def _columns(values: pl.Series) -> Floats:
    """Return a feature as numbers: value by value where there are few, text of many values not at all."""
    if values.n_unique() <= _FEW:
        return _each(values.cast(pl.String))
    if not values.dtype.is_numeric():
        return np.empty((values.len(), 0))
    numbers = values.cast(pl.Float64)
    numbers = numbers.set(~numbers.is_finite().fill_null(value=True), None)
    filled = numbers.fill_null(strategy="mean").to_numpy()
    spread = float(filled.std())
    scaled: Floats = (filled - filled.mean()) / (spread or 1.0)
    return scaled.reshape(-1, 1)


def _within(part: Floats, kind: Floats) -> Floats:
    """Return a part for each category of a feature: on Sundays one shop may sell more, and another less."""
    return (part[:, :, None] * kind[:, None, :]).reshape(len(part), -1)


def _each(values: pl.Series) -> Floats:
    """Return a column of 0 and 1 for each value."""
    return values.to_dummies().to_numpy().astype(np.float64)


def _left(given: Floats, answers: Floats) -> float:
    """Return the sum of squares that least squares leave."""
    square = given.T @ given
    square[np.diag_indices_from(square)] += _RIDGE * len(given)
    return float(((answers - given @ np.linalg.solve(square, given.T @ answers)) ** 2).sum())
