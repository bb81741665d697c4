"""Picks predictions of a window that show what is alarming, for a person to look at. Pure."""

from collections.abc import Sequence

import polars as pl

from tidemill.monitoring.drift.drift_columns import ColumnDrift

__all__ = ["distance", "error_of", "furthest_from_reference", "worst_ids"]

_MOST = 5


def worst_ids(ids: pl.Series, oddness: pl.Series | None) -> list[str]:
    """Return the ids of the predictions that are furthest off, the worst first.

    >>> worst_ids(pl.Series(["a", "b", "c"]), pl.Series([0.5, 0.0, 2.0]))
    ['c', 'a']
    """
    if oddness is None:
        return []
    chosen = pl.DataFrame({"id": ids, "far": oddness}).filter(pl.col("far") > 0)
    worst = chosen.sort("far", "id", descending=[True, False]).head(_MOST)
    return [str(each) for each in worst["id"]]


def furthest_from_reference(columns: Sequence[ColumnDrift], features: pl.DataFrame) -> pl.Series | None:
    """Return how odd each row is in the feature that has moved most and that the rows have.

    None where that feature is a list.
    """
    worst = next((each for each in columns if each.name in features.columns), None)
    if worst is None:
        return None
    values = features[worst.name].alias("values")
    if worst.current_missing - worst.reference_missing > worst.threshold or values.null_count() == len(
        values
    ):
        return values.is_null().cast(pl.Float64)
    if values.dtype.is_numeric() and worst.reference_mean is not None:
        return distance(values, worst)
    if values.dtype.is_nested():
        return None
    most = values.drop_nulls().value_counts(sort=True)
    return (values == most["values"][0]).fill_null(False).cast(pl.Float64) if most.height else None


def distance(values: pl.Series, drift: ColumnDrift) -> pl.Series | None:
    """Return how far numbers are from the reference's mean; None for what is no number."""
    if not values.dtype.is_numeric() or drift.reference_mean is None:
        return None
    return (values.cast(pl.Float64) - drift.reference_mean).abs().fill_nan(None).fill_null(0.0)


def error_of(labelled: pl.DataFrame) -> pl.Series | None:
    """Return how far each score is from a label that is a number; None where labels are not."""
    for name in ("label", "target"):
        if name in labelled.columns and not labelled[name].dtype.is_nested():
            truth = labelled[name].cast(pl.Float64, strict=False)
            if truth.null_count() < len(truth):
                return (labelled["score"] - truth).abs().fill_nan(None).fill_null(0.0)
    return None
