"""Chooses the thresholds of monitors so that ordinary pieces of the table itself stay below them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

from tidemill.monitoring.drift.drift_columns import compare_categories, compare_column, compare_scores
from tidemill.monitoring.monitor_config import DataDriftConfig
from tidemill.quickstart.choices import Choices
from tidemill.quickstart.time_and_key import moments_of

__all__ = ["Thresholds", "calibrate"]

_BLOCKS = 12
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
_NEVER = DataDriftConfig(numerical=1e9, categorical=1.0, missing=1.0)


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
    score: float
    classes: float
    """Of the shares of predicted classes."""
    max_drop: float
    blocks: int
    """How many pieces of the table were compared with the rest of it."""


def calibrate(choices: Choices) -> Thresholds:
    """Return thresholds that the distances between pieces of the table and all of it stay below.

    With a time the pieces are periods, so that ordinary changes from week to week raise no alarm; without one
    they are random rows.
    """
    days, min_rows = _window(choices)
    whole = _typed(choices)
    pieces = _pieces(choices, whole, days, min_rows)
    names = [feature.name for feature in choices.features.chosen]
    target = choices.target.column
    numbers: dict[str, list[float]] = {}
    categories: dict[str, list[float]] = {}
    missing: list[float] = []
    for piece in pieces:
        for name in names:
            found = compare_column(name, whole[name], piece[name], _NEVER)
            missing.append(abs(found.current_missing - found.reference_missing))
            if found.value is not None:
                kind = numbers if found.method == "wasserstein" else categories
                kind.setdefault(name, []).append(found.value)
    of_scores, of_classes = _of_answers(choices, whole[target], [piece[target] for piece in pieces])
    moved = {name: _MARGIN * _high(values) for name, values in numbers.items()}
    apart = {name: min(_MARGIN * _high(values), _MOST_APART) for name, values in categories.items()}
    own = {name: _rounded(value) for name, value in {**moved, **apart}.items() if value > _LEAST}
    return Thresholds(
        window_days=days,
        min_rows=min_rows,
        numerical=_LEAST,
        categorical=_LEAST,
        missing=min(_rounded(max(0.1, _MARGIN * _high(missing))), 1.0),
        share=0.3,
        columns=own,
        score=_rounded(max(0.2, *_usual(moved), _MARGIN * of_scores)),
        classes=min(_rounded(max(0.1, _MARGIN * of_classes)), 0.6),
        max_drop=_max_drop(choices, min_rows),
        blocks=len(pieces),
    )


def _of_answers(choices: Choices, whole: pl.Series, pieces: list[pl.Series]) -> tuple[float, float]:
    """Return how far answers and predicted classes move by themselves, if they are as sure as the target.

    There is no model yet. The answers of one that is always right and sure are the target; those of any other
    move less. Classes are compared as scores are: 1 for the most frequent class, 0 for the others.
    """
    target, of_classes = choices.target, 0.0
    if target.task == "regression":
        scores = [column.cast(pl.Float64) for column in (whole, *pieces)]
    else:
        words = [column.drop_nulls().cast(pl.String) for column in (whole, *pieces)]
        common = words[0].mode().sort()[0]
        scores = [(column == common).cast(pl.Float64) for column in words]
        shares = [compare_categories(words[0], piece, 1.0).value for piece in words[1:]]
        of_classes = _high([value for value in shares if value is not None])
    moved = [compare_scores(scores[0], piece, 1e9).value for piece in scores[1:]]
    return _high([value for value in moved if value is not None]), of_classes


def _window(choices: Choices) -> tuple[int, int]:
    """Return the window in days, and the fewest rows in it that are judged."""
    rows = choices.profile.rows
    if choices.time is None:
        return 7, max(_SMALLEST, min(_WANTED_ROWS, rows // 10))
    days = max((choices.time.last - choices.time.first) / timedelta(days=1), 1 / 24)
    a_day = rows / days
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


def _pieces(choices: Choices, whole: pl.DataFrame, days: int, min_rows: int) -> list[pl.DataFrame]:
    if "\0time" in whole.columns:
        ordered = whole.drop_nulls("\0time").sort("\0time")
        start = ordered["\0time"][0]
        number = ((pl.col("\0time") - start).dt.total_seconds() // (days * 86400)).cast(pl.Int64)
        fewest = max(_SMALLEST, round(min_rows * whole.height / choices.profile.rows / 2))
        periods = [
            piece.drop("\0place")
            for piece in ordered.with_columns(number.alias("\0place")).partition_by(
                "\0place", maintain_order=True
            )
            if piece.height >= fewest
        ]
        if len(periods) >= 3:
            return periods[-_BLOCKS * 2 :]
    size = min(min_rows, max(whole.height // 4, 1))
    return [whole.sample(size, seed=seed) for seed in range(_BLOCKS)]


def _usual(moved: Mapping[str, float]) -> list[float]:
    """Return about how far features move, which moves the answers; nothing if no feature is a number."""
    return [_SPREAD * float(np.median(list(moved.values())))] if moved else []


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
