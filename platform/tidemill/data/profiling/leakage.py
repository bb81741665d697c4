"""Finds columns that give the target away: those that equal it, determine it, or predict it nearly alone."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name

__all__ = ["CERTAIN", "Leak", "find_leaks"]

CERTAIN = 0.999
"""Strength from which on a column is taken for a leak."""
_SUSPICIOUS = 0.98
_FEWEST = 50
"""With fewer labelled rows a perfect prediction may be chance."""
_BINS = 200

Kind = Literal["binary", "multiclass", "regression"]
Floats = npt.NDArray[np.float64]


class Leak(NamedTuple):
    """A column that seems to know the target."""

    column: str
    reason: str
    """Why, such as ``equals the target``."""
    certain: bool
    """Whether it is a leak almost surely, rather than suspiciously good."""


def find_leaks(sample: pl.DataFrame, target: str, kind: Kind, columns: Sequence[str]) -> list[Leak]:
    """Return the columns that give the target away, in their order.

    Each column is judged alone: by the area under its ROC curve for two classes, by how often the most
    frequent class of its value is right for several, by its rank correlation for numbers. Text is judged by
    what its values mean in the other half of the rows, so that many values alone are no leak. Whether a value
    is missing counts as a column, too: what is filled in only afterwards knows the outcome.

    Args:
        sample: rows of the table.
        target: the column to predict.
        kind: of the task.
        columns: columns to judge.

    >>> sample = pl.DataFrame({"paid": [0, 1] * 50, "state": ["open", "done"] * 50, "n": range(100)})
    >>> [(leak.column, leak.reason) for leak in find_leaks(sample, "paid", "binary", ["state", "n"])]
    [('state', 'determines the target: each of its 2 values has one class')]
    """
    rows = sample.filter(pl.col(literal_name(target)).is_not_null())
    if rows.height < _FEWEST:
        return []
    truth = rows[target].alias("truth")
    found = (_judged(name, rows[name].alias("value"), truth, kind) for name in columns)
    return [leak for leak in found if leak is not None]


def _judged(name: str, values: pl.Series, truth: pl.Series, kind: Kind) -> Leak | None:
    if values.dtype.is_nested():
        return None
    if _equal(values, truth):
        return Leak(name, "equals the target", True)
    distinct = values.drop_nulls().n_unique()
    if kind != "regression" and 1 < distinct <= max(2, len(values) // 20) and _determines(values, truth):
        return Leak(name, f"determines the target: each of its {distinct} values has one class", True)
    missing = values.is_null()
    if kind != "regression" and 0 < int(missing.sum()) < len(missing):
        strength = _strength(missing.cast(pl.Int8), truth, kind)
        if strength >= _SUSPICIOUS:
            certain = strength >= CERTAIN
            return Leak(name, f"is missing depending on the target ({_said(kind, strength)} alone)", certain)
    strength = _strength(values, truth, kind)
    if strength < _SUSPICIOUS:
        return None
    return Leak(name, f"predicts the target alone ({_said(kind, strength)})", strength >= CERTAIN)


def _said(kind: Kind, strength: float) -> str:
    what = {"binary": "AUC", "multiclass": "accuracy beyond guessing", "regression": "rank correlation"}[kind]
    return f"{what} {int(strength * 1000) / 1000:.3f}"


def _equal(values: pl.Series, truth: pl.Series) -> bool:
    if values.null_count():
        return False
    if values.dtype.is_numeric() and truth.dtype.is_numeric():
        return bool((values.cast(pl.Float64) == truth.cast(pl.Float64)).all())
    return bool((values.cast(pl.String) == truth.cast(pl.String)).all())


def _determines(values: pl.Series, truth: pl.Series) -> bool:
    frame = pl.DataFrame([values, truth]).drop_nulls("value")
    classes = frame.group_by("value").agg(pl.col("truth").n_unique())
    enough = frame.height >= 0.5 * len(values)
    return enough and frame["truth"].n_unique() > 1 and bool((classes["truth"] == 1).all())


def _strength(values: pl.Series, truth: pl.Series, kind: Kind) -> float:
    if kind == "multiclass":
        return _accuracy(_binned(values), truth)
    numbers = (
        truth.cast(pl.String).rank("dense").cast(pl.Float64) if kind == "binary" else truth.cast(pl.Float64)
    )
    coded = _numbers(values, numbers)
    there = coded.is_not_null() & numbers.is_not_null()
    coded, numbers = coded.filter(there), numbers.filter(there)
    if (
        len(coded) < _FEWEST
        or coded.n_unique() < 2
        or numbers.n_unique() < 2
        or len(coded) < 0.2 * len(values)
    ):
        return 0.0
    if kind == "binary":
        return _auc(coded, numbers)
    left, right = coded.rank().to_numpy(), numbers.rank().to_numpy()
    return abs(float(np.corrcoef(left, right)[0, 1]))


def _numbers(values: pl.Series, truth: pl.Series) -> pl.Series:
    """Return values as numbers: text as the mean truth of the same text in the other half of the rows."""
    if values.dtype.is_numeric() or values.dtype == pl.Boolean:
        return values.cast(pl.Float64)
    if values.dtype.is_temporal():
        return values.to_physical().cast(pl.Float64)
    frame = pl.DataFrame({"value": values.cast(pl.String), "truth": truth}).with_row_index("place")
    half = frame.with_columns(pl.col("place") % 2)
    means = half.group_by("place", "value").agg(pl.col("truth").mean().alias("code"))
    swapped = (1 - pl.col("place").cast(pl.Int8)).cast(pl.UInt32).alias("place")
    other = means.with_columns(swapped)
    return half.join(other, on=["place", "value"], how="left", maintain_order="left")["code"]


def _auc(scores: pl.Series, truth: pl.Series) -> float:
    positive = truth == truth.max()
    ones, ranks = int(positive.sum()), scores.rank("average")
    zeros = len(truth) - ones
    above = float(ranks.filter(positive).sum()) - ones * (ones + 1) / 2
    area = above / (ones * zeros)
    return max(area, 1 - area)


def _binned(values: pl.Series) -> pl.Series:
    if not (values.dtype.is_numeric() or values.dtype.is_temporal()) or values.n_unique() <= _BINS:
        return values.cast(pl.String).fill_null("")
    place = values.to_physical().cast(pl.Float64).rank("min")
    return (place * _BINS / len(values)).floor().cast(pl.String).fill_null("")


def _accuracy(values: pl.Series, truth: pl.Series) -> float:
    """Return how often the most frequent class of a value in one half of the rows is right in the other.

    0 is as often as when always the most frequent class is guessed, 1 is always.
    """
    frame = pl.DataFrame({"value": values, "truth": truth.cast(pl.String)}).with_row_index("place")
    half = frame.with_columns((pl.col("place") % 2).cast(pl.Int8).alias("place"))
    counts = half.group_by("place", "value", "truth").len().sort("len", "truth", descending=True)
    chosen = (
        counts.group_by("place", "value", maintain_order=True)
        .first()
        .select((1 - pl.col("place")).alias("place"), "value", guess="truth")
    )
    joined = half.join(chosen, on=["place", "value"], how="left")
    right = float((joined["guess"] == joined["truth"]).fill_null(False).mean() or 0.0)  # type: ignore[arg-type]
    guessing = float(frame["truth"].value_counts()["count"].max()) / len(frame)  # type: ignore[arg-type]
    return max(0.0, (right - guessing) / (1 - guessing)) if guessing < 1 else 0.0
