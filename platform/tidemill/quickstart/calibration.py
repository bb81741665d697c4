"""Chooses the thresholds of monitors so that ordinary pieces of the table itself stay below them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from tidemill.monitoring.drift.drift_columns import (
    ColumnDrift,
    compare_categories,
    compare_column,
    compare_scores,
)
from tidemill.monitoring.kind_sections import DataDriftConfig
from tidemill.quickstart.choices import Choices
from tidemill.quickstart.time_and_key import moments_of

__all__ = ["Thresholds", "calibrate"]

_BLOCKS = 12
_FEWEST_BLOCKS = 3
_SMALLEST = 50
_WINDOWS = (1, 2, 7, 14, 28, 91)
"""Days that a window may have."""
_WANTED_ROWS = 500
_MARGIN = 1.5
_SPREAD = 1.2
"""Answers that move by chance alone differ by about so much."""
_LEAST = 0.1
"""No threshold is smaller."""
_MOST_APART = 0.6
"""No threshold of categories is greater."""
_USUAL = DataDriftConfig(numerical=_LEAST, categorical=_LEAST, missing=_LEAST)
_FAR = 3.0
"""Standard deviations that hardly any feature moves from one period to the next."""
_RARELY = 0.1
"""A column that looks broken in more of the pieces is left out."""


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of the monitors, and the window that they hold for."""

    window_days: int
    min_rows: int
    numerical: float
    categorical: float
    missing: float
    share: float
    columns: Mapping[str, float]
    """Thresholds of columns that move more than ``numerical`` or ``categorical`` by themselves."""
    exclude: Mapping[str, str]
    """Columns that look broken by themselves, in several pieces, as with one value in a whole one: how."""
    odd: Mapping[str, int]
    """Columns that are far from everything else in a few pieces, and in how many: these say nothing of what
    is usual."""
    score: float
    classes: float
    """Of the shares of predicted classes."""
    max_drop: float
    blocks: int
    """How many pieces of the table were compared with the rest of it."""


class _Piece(NamedTuple):
    """A piece of the table, and the rows that it is compared with."""

    before: pl.DataFrame
    now: pl.DataFrame


def calibrate(choices: Choices) -> Thresholds:
    """Return thresholds that the distances between pieces of the table and the others stay below.

    With a time the pieces are periods, each compared with what came before it, so that ordinary changes from
    week to week raise no alarm; without one they are random rows. What chance alone brings to a piece does
    not count, as it does not in a monitor.
    """
    days, min_rows = _window(choices)
    pieces = _pieces(choices, _typed(choices), days, min_rows)
    names = [feature.name for feature in choices.features.chosen]
    found = {name: _compared(name, pieces, _USUAL, len(names)) for name in names}
    distances = {name: [_moved(each) for each in columns] for name, columns in found.items()}
    moved = {name: _MARGIN * _high(_ordinary(values)) for name, values in distances.items()}
    numbers = [name for name, columns in found.items() if columns[0].method == "wasserstein"]
    own = {
        name: _rounded(value if name in numbers else min(value, _MOST_APART))
        for name, value in moved.items()
        if value > _LEAST
    }
    missing = [abs(one.current_missing - one.reference_missing) for each in found.values() for one in each]
    of_scores, of_classes = _of_answers(choices, pieces)
    return Thresholds(
        window_days=days,
        min_rows=min_rows,
        numerical=_LEAST,
        categorical=_LEAST,
        missing=min(_rounded(max(0.1, _MARGIN * _high(missing))), 1.0),
        share=0.3,
        columns=own,
        exclude=_broken(found, pieces, own),
        odd={
            name: odd for name, values in distances.items() if (odd := len(values) - len(_ordinary(values)))
        },
        score=_rounded(max(0.2, *_usual([moved[name] for name in numbers]), _MARGIN * of_scores)),
        classes=min(_rounded(max(0.1, _MARGIN * of_classes)), 0.6),
        max_drop=_max_drop(choices, min_rows),
        blocks=len(pieces),
    )


def _moved(column: ColumnDrift) -> float:
    """Return a column's distance, if it is more than chance brings."""
    return column.value if column.drifted and column.value is not None else 0.0


def _ordinary(distances: list[float]) -> list[float]:
    """Leave out a few distances that no other comes near: something broke there, such as a unit.

    >>> _ordinary([0.1, 0.0, 0.2, 180.0, 0.1]), _ordinary([2.0, 4.0, 6.0])
    ([0.1, 0.0, 0.2, 0.1], [2.0, 4.0, 6.0])
    """
    limit = max(_FAR, 10 * float(np.median(distances))) if distances else 0.0
    return [each for each in distances if each <= limit]


def _compared(name: str, pieces: list[_Piece], config: DataDriftConfig, columns: int) -> list[ColumnDrift]:
    return [
        compare_column(name, piece.before[name], piece.now[name], config, columns=columns) for piece in pieces
    ]


def _broken(
    found: Mapping[str, list[ColumnDrift]], pieces: list[_Piece], own: Mapping[str, float]
) -> dict[str, str]:
    """Return the columns that look broken by themselves, and how: with the threshold that they get.

    What a season moves far seems to be multiplied beside the usual threshold, and not beside its own.
    """
    config, broken = _USUAL.model_copy(update={"thresholds": dict(own)}), dict[str, str]()
    for name, columns in found.items():
        if _looks_broken(columns) and (how := _looks_broken(_compared(name, pieces, config, len(found)))):
            broken[name] = how
    return broken


def _looks_broken(pieces: list[ColumnDrift]) -> str | None:
    """Return how a column looks broken in several pieces, besides by its distance; None: it does not."""
    broken = [each.broken for each in pieces if each.broken and not each.broken.startswith("distance")]
    if len(broken) <= max(1, _RARELY * len(pieces)):
        return None
    return f"in {len(broken)} of {len(pieces)}, the last time: {broken[-1]}"


def _of_answers(choices: Choices, pieces: list[_Piece]) -> tuple[float, float]:
    """Return how far answers and predicted classes move by themselves, if they are as sure as the target.

    There is no model yet. The answers of one that is always right and sure are the target; those of any other
    move less. Classes are compared as scores are: 1 for the most frequent class, 0 for the others.
    """
    target, moved, of_classes = choices.target, list[float](), list[float]()
    for piece in pieces:
        before, now = piece.before[target.column].drop_nulls(), piece.now[target.column].drop_nulls()
        if before.is_empty() or now.is_empty():
            continue
        if target.task == "regression":
            before, now = before.cast(pl.Float64), now.cast(pl.Float64)
        else:
            before, now = before.cast(pl.String), now.cast(pl.String)
            of_classes.append(_moved(compare_categories(before, now, _LEAST)))
            common = before.mode().sort()[0]
            before, now = ((side == common).cast(pl.Float64) for side in (before, now))
        moved.append(_moved(compare_scores(before, now, _LEAST)))
    return _high(moved), _high(of_classes)


def _window(choices: Choices) -> tuple[int, int]:
    """Return the window in days, and the fewest rows in it that are judged."""
    rows = choices.profile.rows
    if choices.time is None:
        return 7, max(_SMALLEST, min(_WANTED_ROWS, rows // 10))
    if (periods := choices.split.periods) is not None:  # one wrong date would stretch the whole table
        a_day = periods.holdout_rows / choices.target.labelled * rows / periods.holdout_days
    else:
        a_day = rows / max((choices.time.last - choices.time.first) / timedelta(days=1), 1 / 24)
    window = next((one for one in _WINDOWS if one * a_day >= _WANTED_ROWS), _WINDOWS[-1])
    return window, max(_SMALLEST, min(_WANTED_ROWS, int(window * a_day / 2)))


def _typed(choices: Choices) -> pl.DataFrame:
    """Return the sample's features as a model gets them, its target and its time."""
    sample = choices.profile.sample
    columns = []
    for feature in choices.features.chosen:
        column = pl.lit(sample[feature.name])
        if feature.type == "moment":
            column = (
                moments_of(feature.name, sample.schema[feature.name]).dt.epoch("us").cast(pl.Float64) / 1e6
            )
        elif feature.type not in ("text", "list"):
            column = column.cast(pl.Float64)
        columns.append(column.alias(feature.name))
    columns.append(pl.lit(sample[choices.target.column]).alias(choices.target.column))
    if choices.time is not None and isinstance(sample.schema[choices.time.column], pl.Datetime | pl.Date):
        moment = moments_of(choices.time.column, sample.schema[choices.time.column])
        columns.append(moment.alias("\0time"))
    return sample.select(columns)


def _pieces(choices: Choices, whole: pl.DataFrame, days: int, min_rows: int) -> list[_Piece]:
    if "\0time" in whole.columns:
        ordered = whole.drop_nulls("\0time").sort("\0time")
        start = ordered["\0time"][0]
        number = ((pl.col("\0time") - start).dt.total_seconds() // (days * 86400)).cast(pl.Int64)
        fewest = max(_SMALLEST, round(min_rows * whole.height / choices.profile.rows / 2))
        periods, begins = [], 0
        for now in ordered.with_columns(number.alias("\0place")).partition_by("\0place", maintain_order=True):
            if now.height >= fewest:
                periods.append((begins, now))
            begins += now.height
        known = [each for each in periods if each[0] >= max(fewest, ordered.height // 4)]
        if len(known) >= _FEWEST_BLOCKS:
            return [_Piece(ordered.head(begins), now) for begins, now in known[-2 * _BLOCKS :]]
        if len(periods) >= _FEWEST_BLOCKS:
            sides = [(ordered.head(begins), ordered[begins + now.height :], now) for begins, now in periods]
            return [_Piece(pl.concat([before, after]), now) for before, after, now in sides]
    size, pieces = min(min_rows, max(whole.height // 4, 1)), []
    for seed in range(_BLOCKS):
        mixed = whole.sample(fraction=1, shuffle=True, seed=seed)
        pieces.append(_Piece(mixed[size:], mixed[:size]))
    return pieces


def _usual(moved: list[float]) -> list[float]:
    """Return about how far features move, which moves the answers; nothing if no feature is a number."""
    return [_SPREAD * float(np.median(moved))] if moved else []


def _high(values: list[float]) -> float:
    return float(np.quantile(values, 0.95)) if values else 0.0


def _rounded(value: float) -> float:
    """Return a number with two digits, rounded up."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.2g}")


def _max_drop(choices: Choices, rows: int) -> float:
    """Return the loss of quality that chance alone seldom brings with that many labels.

    For an AUC, three standard errors by Hanley and McNeil at 0.75; for other metrics a tenth of what a guess
    that knows only the target's distribution loses.
    """
    target = choices.target
    if target.task == "binary":
        rarer = max(1.0, min(target.rows.values()) / target.labelled * rows)
        return _rounded(min(0.2, max(0.03, 3 * math.sqrt(0.75 * 0.25 / rarer) / 2)))
    if target.task == "multiclass":
        shares = np.array(list(target.rows.values())) / target.labelled
        return _rounded(max(0.02, 0.1 * float(-(shares * np.log(shares)).sum())))
    values = choices.profile.sample[target.column].drop_nulls().cast(pl.Float64).to_numpy()
    spread = float(np.abs(values - np.median(values)).mean())
    return _rounded(0.1 * spread) or 0.01
