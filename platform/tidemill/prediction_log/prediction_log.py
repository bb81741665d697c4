"""Read the prediction log: every answered prediction and every label, compacted or not.

Layout, one segment a writer and event date, and parts that segments are compacted into::

    <root>/<model>/predictions/date=2013-04-01/<writer>.ndjson
    <root>/<model>/predictions/date=2013-04-01/part-<owner>-<id>.parquet
    <root>/<model>/labels/date=2013-04-03/<writer>.ndjson

``date`` is the UTC date of the record's own ``at`` (event time): a replayed history keeps its own dates.
The guarantees are in `tidemill.prediction_log.writing.log_writer`; the rules of which files count, in
`manifests`; those of which label a prediction has, in `label_matching`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from tidemill.clock import utc
from tidemill.prediction_log.labels.label_matching import of_each, with_labels
from tidemill.prediction_log.log_records import FEATURE_PREFIX, SHADOW, LabelRecord, PredictionRecord
from tidemill.prediction_log.reading.log_counts import LogCounts, count_log
from tidemill.prediction_log.reading.log_files import Rows, read_files
from tidemill.prediction_log.storage.log_schema import TYPED, stacked
from tidemill.prediction_log.storage.manifests import Kind, partitions, retry_after_compaction
from tidemill.prediction_log.writing.log_writer import LogHealth, PredictionLog

__all__ = [
    "FEATURE_PREFIX",
    "LabelRecord",
    "LogCounts",
    "LogHealth",
    "PredictionLog",
    "PredictionRecord",
    "count_log",
    "count_new_labels",
    "features_of",
    "logged_days",
    "read_labelled",
    "read_labels",
    "read_latest",
    "read_predictions",
    "start_of_latest",
]


def read_predictions(
    root: Path,
    model: str,
    start: datetime,
    end: datetime,
    include_test: bool = False,
    include_shadows: bool = False,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the predictions with ``start <= at < end``, sorted by ``at``.

    Columns: those of `PredictionRecord` (``at`` and ``served_at`` aware, UTC; ``instance``, ``decision``,
    ``keys`` and ``answer`` as JSON text), and each feature as ``feature.<name>``: String where one of its
    values is text. Columns that were added after a record was written are null in it.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        start: first moment, event time, aware.
        end: end of the window, itself not in it.
        include_test: whether test traffic is wanted too.
        include_shadows: whether predictions that were not returned to the caller are wanted too.
        columns: the only ones to read; a feature that no record has is null. None for all.

    Raises:
        ServingError: the log cannot be read.
    """
    last = (utc(end) - timedelta(microseconds=1)).date()  # exclude the end itself
    live = (~pl.col("test") | include_test) & (pl.col("role").ne_missing(SHADOW) | include_shadows)
    sorted_by = ("at", "prediction_id")
    named = None if columns is None else tuple(dict.fromkeys((*columns, *sorted_by)))
    found = _read(root, model, "predictions", (utc(start).date(), last), Rows(start, end, live, named)).sort(
        sorted_by
    )
    if columns is None:
        return found
    none = [pl.lit(None, pl.Float64).alias(name) for name in columns if name not in found.columns]
    return found.with_columns(none).select(columns)


def read_latest(root: Path, model: str, count: int, columns: Sequence[str]) -> pl.DataFrame:
    """Return the ``count`` latest predictions by event time, the latest first, shadows and tests included.

    Raises:
        ServingError: the log cannot be read.
    """
    found: list[pl.DataFrame] = []
    for day in reversed(logged_days(root, model)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        rows = read_predictions(root, model, start, end, True, True, list(dict.fromkeys([*columns, "at"])))
        found.append(rows.reverse())
        if sum(each.height for each in found) >= count:
            break
    none = pl.DataFrame(schema={name: TYPED["predictions"].get(name, pl.Float64()) for name in columns})
    return stacked([none, *found]).select(columns).head(count)


def start_of_latest(root: Path, model: str, count: int, before: datetime) -> datetime | None:
    """Return the event time of the ``count``-th latest prediction before a moment; None if there is none.

    If there are fewer, it is that of the first one. Tests and shadows do not count.

    Raises:
        ServingError: the log cannot be read.
    """
    first, wanted = None, count
    for day in reversed(logged_days(root, model)):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        if start >= utc(before):
            continue
        end = min(start + timedelta(days=1), utc(before))
        moments = read_predictions(root, model, start, end, columns=["at"])["at"]
        if len(moments):
            first = utc(moments[max(len(moments) - wanted, 0)])
        wanted -= len(moments)
        if wanted <= 0:
            break
    return first


def read_labels(root: Path, model: str, known_by: datetime, since: date = date.min) -> pl.DataFrame:
    """Return the label of each prediction that was labelled by id, as it was known at ``known_by``.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        known_by: labels that became known later are left out.
        since: labels that became known on earlier dates need not be read.

    Returns:
        Columns ``prediction_id``, ``label`` (0 or 1), ``target``, ``label_at``, and ``labels``: how many
        different ones it got.

    Raises:
        ServingError: the log cannot be read.
    """
    return of_each(_known_labels(root, model, known_by, since))


def read_labelled(
    root: Path,
    model: str,
    start: datetime,
    end: datetime,
    known_by: datetime,
    include_test: bool = False,
    include_shadows: bool = False,
    columns: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Return the predictions of a window whose label was known at ``known_by``, for monitors.

    Arguments and columns of `read_predictions`, and ``label`` (0 or 1, of two classes), ``target`` (of any
    other task) and ``label_at`` by the rules of `tidemill.prediction_log.labels.label_matching`. What they
    say is read by `Task.truth_of_log` and `Task.given_in_log`.

    Raises:
        ServingError: the log cannot be read.
    """
    needed = None if columns is None else list(dict.fromkeys([*columns, *_TO_LABEL]))
    predictions = read_predictions(root, model, start, end, include_test, include_shadows, needed)
    labels = _known_labels(root, model, known_by, since=utc(start).date())
    found = with_labels(predictions, labels)
    return found if columns is None else found.select(*columns, "label", "target", "label_at")


def count_new_labels(root: Path, model: str, after: datetime | None, known_by: datetime) -> int:
    """Return how many predictions, or moments of keys, got a label after one moment and up to another.

    Raises:
        ServingError: the log cannot be read.
    """
    labels = _known_labels(root, model, known_by, date.min if after is None else utc(after).date())
    if after is not None:
        labels = labels.filter(pl.col("at") > after)
    return labels.select("prediction_id", "keys", "predicted_at").n_unique()


def features_of(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the feature columns without their prefix; a feature may be called like a column of the log.

    >>> features_of(pl.DataFrame({"score": [0.5], "feature.score": [7.0]}))["score"].to_list()
    [7.0]
    """
    names = [name for name in predictions.columns if name.startswith(FEATURE_PREFIX)]
    return predictions.select(predictions[name].alias(name.removeprefix(FEATURE_PREFIX)) for name in names)


def logged_days(root: Path, model: str) -> list[date]:
    """Return the sorted UTC dates (event time) that have predictions, without reading predictions."""
    found = partitions(root, model, "predictions", date.min, date.max)
    return [each.day for each in found if each.parts or each.segments]


_TO_LABEL = ("prediction_id", "shadow_of", "at", "keys")


def _known_labels(root: Path, model: str, known_by: datetime, since: date) -> pl.DataFrame:
    until = utc(known_by) + timedelta(microseconds=1)
    named = tuple(TYPED["labels"])
    return _read(root, model, "labels", (since, utc(known_by).date()), Rows(None, until, None, named))


def _read(
    root: Path,
    model: str,
    kind: Kind,
    days: tuple[date, date],
    wanted: Rows,
) -> pl.DataFrame:
    return retry_after_compaction(
        root, model, kind, days, lambda found: read_files(found, kind, wanted).frame
    )
