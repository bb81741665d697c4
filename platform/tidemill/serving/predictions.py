"""The prediction log: every answered prediction and every label.

Layout, one segment a writer and event date::

    <root>/<model>/predictions/date=2013-04-01/<writer>.ndjson
    <root>/<model>/labels/date=2013-04-03/<writer>.ndjson

``date`` is the UTC date of the record's own ``at`` (event time): a replayed history lands where it belongs.
What is promised to whom is said in `tidemill.serving.writing`.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from tidemill.clock import utc
from tidemill.serving.lines import Lines, read_lines
from tidemill.serving.records import (
    FEATURE_PREFIX,
    LABEL_COLUMNS,
    PREDICTION_COLUMNS,
    SHADOW,
    LabelRecord,
    PredictionRecord,
)
from tidemill.serving.writing import LogHealth, PredictionLog

__all__ = [
    "FEATURE_PREFIX",
    "LabelRecord",
    "LogCounts",
    "LogHealth",
    "PredictionLog",
    "PredictionRecord",
    "count_log",
    "logged_days",
    "read_labelled",
    "read_labels",
    "read_predictions",
]

_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"


@dataclass(frozen=True)
class LogCounts:
    """How much a log holds, and what is odd about it."""

    predictions: int
    labels: int
    """Label records, repeated ones included."""
    torn: int
    """Lines that a crash left incomplete."""
    unmatched: int
    """Labels of predictions that the log does not hold."""
    contradicted: int
    """Predictions that were given different labels; the latest ``at`` counts."""


def read_predictions(
    root: Path,
    model: str,
    start: datetime,
    end: datetime,
    include_test: bool = False,
    include_shadows: bool = False,
) -> pl.DataFrame:
    """Return the predictions with ``start <= at < end``, sorted by ``at``.

    Columns: those of `PredictionRecord` (``at`` and ``served_at`` aware, UTC; ``instance``, ``decision`` and
    ``keys`` as JSON text), and each feature as ``feature.<name>``. ``keys`` is null in what was logged before
    there were any.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        start: first moment, event time, aware.
        end: end of the window, itself not in it.
        include_test: whether test traffic is wanted too.
        include_shadows: whether predictions that were made and never given out are wanted too.
    """
    last = (utc(end) - timedelta(microseconds=1)).date()  # the end itself is not in it
    lines = _lines(root / model / "predictions", utc(start).date(), last)
    frame = _with_moments(lines.frame, "at", "served_at").filter(
        pl.col("at").is_between(start, end, closed="left")
        & (~pl.col("test") | include_test)
        & (pl.col("role").ne_missing(SHADOW) | include_shadows)
    )
    if isinstance(frame.schema.get("features"), pl.Struct):
        frame = frame.with_columns(pl.col("features").name.prefix_fields(FEATURE_PREFIX)).unnest("features")
    return frame.sort("at", "prediction_id")


def read_labels(root: Path, model: str, known_by: datetime, since: date = date.min) -> pl.DataFrame:
    """Return the label of each prediction as it was known at ``known_by``.

    A prediction that was labelled more than once has its label with the latest ``at``; of two with the same
    ``at``, the one that was received last.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        known_by: labels that became known later are left out.
        since: labels that became known on earlier dates need not be read.

    Returns:
        Columns ``prediction_id``, ``label`` (0 or 1), ``label_at``, and ``labels``: how many different ones
        it got.
    """
    frame = _label_lines(root, model, since, utc(known_by).date()).filter(pl.col("at") <= known_by)
    return (
        frame.sort("at", "received_at")
        .group_by("prediction_id", maintain_order=True)
        .agg(
            pl.col("label").last(),
            pl.col("at").last().alias("label_at"),
            pl.col("label").n_unique().alias("labels"),
        )
    )


def read_labelled(
    root: Path, model: str, start: datetime, end: datetime, known_by: datetime, include_test: bool = False
) -> pl.DataFrame:
    """Return the predictions of a window whose label was known at ``known_by``.

    Columns of `read_predictions`, and ``label`` and ``label_at`` of `read_labels`.
    """
    predictions = read_predictions(root, model, start, end, include_test)
    labels = read_labels(root, model, known_by, since=utc(start).date()).drop("labels")
    return predictions.join(labels, on="prediction_id", how="inner", maintain_order="left")


def logged_days(root: Path, model: str) -> list[date]:
    """Return the UTC dates of event time that the log has predictions of, in order; reads no file."""
    names = (folder.name.removeprefix("date=") for folder in (root / model / "predictions").glob("date=*"))
    return sorted(date.fromisoformat(name) for name in names)


def count_log(root: Path, model: str) -> LogCounts:
    """Count what the log holds, and what is odd about it; reads all of it."""
    predictions = _lines(root / model / "predictions", date.min, date.max)
    labels = _lines(root / model / "labels", date.min, date.max)
    by_prediction = labels.frame.group_by("prediction_id").agg(pl.col("label").n_unique())
    return LogCounts(
        predictions=predictions.frame.height,
        labels=labels.frame.height,
        torn=predictions.torn + labels.torn,
        unmatched=by_prediction.join(predictions.frame, on="prediction_id", how="anti").height,
        contradicted=by_prediction.filter(pl.col("label") > 1).height,
    )


def _label_lines(root: Path, model: str, first: date, last: date) -> pl.DataFrame:
    return _with_moments(_lines(root / model / "labels", first, last).frame, "at", "received_at")


def _lines(folder: Path, first: date, last: date) -> Lines:
    columns = PREDICTION_COLUMNS if folder.name == "predictions" else LABEL_COLUMNS
    days = (first.isoformat(), last.isoformat())
    return read_lines(
        (
            path
            for day in sorted(folder.glob("date=*"))
            if days[0] <= day.name.removeprefix("date=") <= days[1]
            for path in sorted(day.glob("*.ndjson"))
        ),
        columns,
    )


def _with_moments(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(columns).str.to_datetime(_MOMENT, time_unit="us", time_zone="UTC"))
