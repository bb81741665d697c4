"""Picks predictions of a window that show what is alarming, for a person to look at. Pure."""

from collections.abc import Sequence

import polars as pl

from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison
from tidemill.monitoring.findings import Findings
from tidemill.prediction_log.prediction_log import features_of

__all__ = ["example_ids"]

_MOST = 5


def example_ids(
    findings: Findings, comparison: Comparison, rows: pl.DataFrame, labelled: pl.DataFrame
) -> dict[str, list[str]]:
    """Return ids of predictions for each kind that was found: those that are furthest off, the worst first.

    Args:
        findings: what was found.
        comparison: the drift of the window.
        rows: the window's predictions, as `read_predictions` gives them.
        labelled: those whose label is known, as `read_labelled` gives them.

    Kinds that name no rows (answers that are lists, labels that are classes of several) have none.
    """
    ids, features = rows["prediction_id"], features_of(rows)
    found: dict[str, list[str]] = {}
    for kind in (each.kind for each in findings.found):
        oddness: pl.Series | None = None
        of = ids
        if kind in ("data_drift", "feature_drift"):
            oddness = _of_features(comparison.by_excess, features)
        elif kind == "prediction_drift" and comparison.prediction is not None:
            oddness = _distance(rows["score"], comparison.prediction)
        elif kind == "quality":
            of, oddness = labelled["prediction_id"], _error(labelled)
        if oddness is not None:
            chosen = pl.DataFrame({"id": of, "far": oddness}).filter(pl.col("far") > 0)
            worst = chosen.sort("far", "id", descending=[True, False]).head(_MOST)
            found[kind] = [str(each) for each in worst["id"]]
    return found


def _of_features(columns: Sequence[ColumnDrift], features: pl.DataFrame) -> pl.Series | None:
    """Return how odd each row is in the feature that has moved most and that the rows have."""
    worst = next((each for each in columns if each.name in features.columns), None)
    if worst is None:
        return None
    values = features[worst.name]
    if worst.current_missing - worst.reference_missing > worst.threshold or values.null_count() == len(
        values
    ):
        return values.is_null().cast(pl.Float64)
    if values.dtype.is_numeric() and worst.reference_mean is not None:
        return _distance(values, worst)
    if values.dtype.is_nested():
        return None
    most = values.drop_nulls().value_counts(sort=True)
    return (values == most[worst.name][0]).fill_null(False).cast(pl.Float64) if most.height else None


def _distance(values: pl.Series, drift: ColumnDrift) -> pl.Series | None:
    if not values.dtype.is_numeric() or drift.reference_mean is None:
        return None
    return (values.cast(pl.Float64) - drift.reference_mean).abs().fill_nan(None).fill_null(0.0)


def _error(labelled: pl.DataFrame) -> pl.Series | None:
    """Return how far each score is from a label that is a number."""
    for name in ("label", "target"):
        if name in labelled.columns and not labelled[name].dtype.is_nested():
            truth = labelled[name].cast(pl.Float64, strict=False)
            if truth.null_count() < len(truth):
                return (labelled["score"] - truth).abs().fill_nan(None).fill_null(0.0)
    return None
