"""Compute the metrics of scores; higher is better for every metric, so that one rule fits all."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from tidemill.data.tables.column_names import literal_name
from tidemill.training.binary_labels import as_labels

__all__ = ["METRICS", "by_month", "evaluate"]

METRICS = ("roc_auc", "average_precision", "neg_log_loss", "neg_brier")


def evaluate(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """Compare scores with labels.

    Args:
        labels: shape (rows,), 0 or 1.
        scores: shape (rows,), probability of label 1.

    Raises:
        DataError: a label is neither 0 nor 1.

    Returns:
        ``roc_auc``, ``average_precision``, ``neg_log_loss``, ``neg_brier``, and ``rows`` and ``base_rate``
        (the share of label 1). A metric is NaN where it is undefined: no rows, a score that is not a number,
        or, for the first two, labels of one kind only.

    >>> found = evaluate([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> found["roc_auc"], found["rows"], found["base_rate"], round(found["neg_brier"], 3)
    (0.75, 4.0, 0.5, -0.158)
    """
    truth = as_labels(pl.DataFrame({"label": np.asarray(labels)}), "label")
    guess = np.asarray(scores, dtype=np.float64)
    rows = len(truth)
    metrics = dict.fromkeys(METRICS, float("nan"))
    if rows and np.isfinite(guess).all():
        metrics["neg_log_loss"] = -float(log_loss(truth, guess, labels=[0, 1]))
        metrics["neg_brier"] = -float(brier_score_loss(truth, guess, pos_label=1))
        if 0 < truth.sum() < rows:
            metrics["roc_auc"] = float(roc_auc_score(truth, guess))
            metrics["average_precision"] = float(average_precision_score(truth, guess))
    return {**metrics, "rows": float(rows), "base_rate": float(truth.mean()) if rows else float("nan")}


def by_month(frame: pl.DataFrame, *, time: str, label: str, score: str) -> Mapping[str, dict[str, float]]:
    """Compare scores with labels month by month (calendar months in UTC).

    Args:
        frame: one row an event.
        time: column with its aware time.
        label: column with 0 or 1.
        score: column with the probability of label 1.

    Returns:
        The results of `evaluate`, by month (``2013-03``), in order.

    >>> from datetime import UTC, datetime
    >>> frame = pl.DataFrame({"at": [datetime(2013, 3, 31, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)],
    ...                       "late": [0, 1], "score": [0.2, 0.6]})
    >>> list(by_month(frame, time="at", label="late", score="score"))
    ['2013-03', '2013-04']
    """
    month = pl.col(literal_name(time)).dt.strftime("%Y-%m")
    months = frame.with_columns(month.alias("_month")).sort("_month")
    return {
        str(month): evaluate(rows[label].to_numpy(), rows[score].to_numpy())
        for (month,), rows in months.group_by("_month", maintain_order=True)
    }
