"""Tells from a window's sketch which of its columns have certainly not drifted. Pure.

A sketch has blocks of numbers that are close to each other in place of the numbers. It says how far these are
from the means of their blocks, on average, and the distance from the reference cannot be off by more. A
column is quiet if each rule of `drift_columns` clears it even so; its distance is then that of the means.
Of any other column nothing is said: its rows must be looked at. So chance has no part in this, and the
columns that drift are the same as without sketches.
"""

import math

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.column_pair import (
    COMMON,
    FEW,
    UNSEEN,
    Method,
    as_category,
    as_comparable,
    once_share,
)
from tidemill.monitoring.drift.distances import jensen_shannon_to_counts, wasserstein_to_counts
from tidemill.monitoring.drift.drift_columns import ColumnDrift, scores_config, threshold_of
from tidemill.monitoring.drift.list_values import is_list
from tidemill.monitoring.drift.units.unit_change import LEAST_MOVE, usual_size
from tidemill.monitoring.kind_sections import DataDriftConfig, PredictionDriftConfig
from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.prediction_log.reading.window_sketch import ColumnSketch, WindowSketch
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["quiet_answers", "quiet_column", "quiet_columns"]

_HUGE = 1e150
_ROUNDING = 1e-9


def quiet_columns(
    reference: pl.DataFrame, sketch: WindowSketch, own: str, config: DataDriftConfig
) -> dict[str, ColumnDrift]:
    """Return the columns that have certainly not drifted, by name, as `drift_columns.compare` would.

    Args:
        reference: the features of rows of the training set.
        sketch: of the window.
        own: the version that is monitored.
        config: thresholds.
    """
    found = {}
    for name in reference.columns:
        before = reference[name].alias("before")  # Polars would read a name like ^score$ as a pattern
        now = sketch.column(f"{FEATURE_PREFIX}{name}", own)
        if now is not None and (quiet := quiet_column(name, before, now, config)) is not None:
            found[name] = quiet
    return found


def quiet_answers(
    reference: ReferenceRows, sketch: WindowSketch, own: str, config: PredictionDriftConfig
) -> ColumnDrift | None:
    """Return the drift of a version's scores if they are all of its answers and have certainly none."""
    now, answers = (sketch.column(name, own, others=False) for name in ("score", "answer"))
    more = reference.answers is not None and reference.answers.count() > 0
    if now is None or more or (answers is not None and answers.known):
        return None
    return quiet_column("score", reference.scores, now, scores_config(config.threshold), few=1)


def quiet_column(
    name: str, before: pl.Series, now: ColumnSketch, config: DataDriftConfig, few: int = FEW
) -> ColumnDrift | None:
    """Return the drift of a column that has certainly none, as `drift_columns.compare_column` would.

    Args:
        name: of the column.
        before: its values in the reference.
        now: those in the window.
        config: thresholds.
        few: numbers with no more different values than this are compared as categories.
    """
    if is_list(before):
        return None
    try:
        old = as_comparable(before)
    except pl.exceptions.PolarsError:
        return None
    known, there = old.drop_nulls(), int(now.values["count"].sum())
    numbers = known.dtype == pl.Float64
    wrong_type = now.values["low" if numbers else "text"].null_count() > 0
    if known.is_empty() or not there or wrong_type:
        return None
    missing = old.null_count() / len(old), (now.rows - there) / now.rows
    if abs(missing[1] - missing[0]) >= config.missing:
        return None
    method: Method = "wasserstein" if numbers and known.n_unique() > few else "jensenshannon"
    threshold = threshold_of(name, method, config)
    value = _of_numbers(known, now, threshold) if method == "wasserstein" else _of_categories(known, now)
    if value is None or value >= threshold:
        return None
    return ColumnDrift(
        name=name,
        method=method,
        value=value,
        threshold=threshold,
        drifted=False,
        reference_mean=_finite(known.mean()) if numbers else None,
        current_mean=_finite((now.values["mean"] * now.values["count"]).sum() / there) if numbers else None,
        reference_missing=missing[0],
        current_missing=missing[1],
        note=None,
    )


def _of_numbers(before: pl.Series, now: ColumnSketch, threshold: float) -> float | None:
    """Return the distance of numbers; None unless they are certainly below the threshold and not broken."""
    known, counts = before.to_numpy(), now.values["count"].cast(pl.Int64).to_numpy()
    low, high, mean = (now.values[name].to_numpy() for name in ("low", "high", "mean"))
    least, most = float(low.min()), float(high.max())
    if max(np.abs(known).max(), -least, most) > _HUGE or np.float32(least) == np.float32(most):
        return None
    spread = float((known - known[0]).std())
    if not spread or not _of_usual_size(known, low, high, counts):
        return None
    value = wasserstein_to_counts(known, mean, counts)
    return value if value + now.spread / (counts.sum() * spread) < threshold * (1 - _ROUNDING) else None


def _of_usual_size(
    before: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> bool:
    """Return whether the unit is certainly that of the reference; no block has zero and other numbers."""
    ends = np.abs([low, high])
    some = ends.max(axis=0) > 0
    middle = usual_size(before)
    if middle is None or not some.any():
        return True
    for size in (ends.min(axis=0), ends.max(axis=0)):
        order = np.argsort(size[some])
        up_to = np.cumsum(counts[some][order])
        for half in ((up_to[-1] + 1) // 2, up_to[-1] // 2 + 1):  # the median lies between the two
            median = np.log10(size[some][order][np.searchsorted(up_to, half)])
            if abs(median - middle) >= LEAST_MOVE * (1 - _ROUNDING):
                return False
    return True


def _of_categories(before: pl.Series, now: ColumnSketch) -> float | None:
    """Return the distance of categories; None if they are not counted, or may be broken."""
    table = now.values
    if before.dtype == pl.Float64 and (table["low"] != table["high"]).any():
        return None
    old = as_category(before)
    values = as_category(table["low"]) if before.dtype == pl.Float64 else table["text"]
    counts = pl.DataFrame({"value": values, "n": table["count"].cast(pl.Int64)})
    counts = counts.group_by("value").agg(pl.col("n").sum())
    there = int(counts["n"].sum())
    if counts.height == 1 and there > 1 and (old == counts["value"][0]).sum() / len(old) <= COMMON:
        return None
    new = int(counts.filter(~pl.col("value").is_in(old.unique().implode()))["n"].sum()) / there
    if new - once_share(old) >= UNSEEN:
        return None
    return jensen_shannon_to_counts(old, counts, FEW)


def _finite(mean: object) -> float | None:
    return float(mean) if isinstance(mean, int | float) and math.isfinite(mean) else None
