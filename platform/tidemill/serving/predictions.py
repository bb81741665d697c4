"""The prediction log: every answered prediction and every label, as append-only segments of JSON lines.

Layout, one segment a writer and event date::

    <root>/<model>/predictions/date=2013-04-01/<writer>.ndjson
    <root>/<model>/labels/date=2013-04-03/<writer>.ndjson

``date`` is the UTC date of the record's own ``at`` (event time): a replayed history lands where it belongs.

What is promised when `PredictionLog.append` has returned:

- the replica is killed (SIGKILL, out of memory) or the machine's user space dies: nothing is lost. The lines
  are in the kernel's page cache, which outlives the process.
- power failure or kernel crash, ``fsync=True``: nothing is lost, as far as the disk keeps what it
  acknowledged. The data is flushed with fdatasync, a new segment's name by an fsync of its folders.
- power failure or kernel crash, ``fsync=False``: what the kernel had not written back is lost, by Linux's
  defaults at most about the last 30 seconds.

What is not promised: a record may be there although its answer never reached the caller (killed in between).
A crash can tear the last line of a segment. Readers skip it and count it; as a writer never continues
another's segment, nor its own after a failed write, no later record is ever glued to a torn one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tidemill.clock import utc
from tidemill.errors import ServingError
from tidemill.serving.segments import SegmentWriter, read_segments

__all__ = [
    "FEATURE_PREFIX",
    "LabelRecord",
    "LogCounts",
    "PredictionLog",
    "PredictionRecord",
    "count_log",
    "logged_days",
    "read_labelled",
    "read_labels",
    "read_predictions",
]

FEATURE_PREFIX = "feature."
"""Before each feature's name among the columns of `read_predictions`."""

_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"
_PREDICTION: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "model": pl.String(),
    "version": pl.String(),
    "at": pl.String(),
    "served_at": pl.String(),
    "replica": pl.String(),
    "instance": pl.String(),
    "score": pl.Float64(),
    "decision": pl.String(),
    "flags": pl.List(pl.String()),
    "test": pl.Boolean(),
    "milliseconds": pl.Float64(),
    "keys": pl.String(),
}
_LABEL: dict[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "label": pl.Int64(),
    "at": pl.String(),
    "received_at": pl.String(),
}


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One answered prediction, as it is logged."""

    prediction_id: str
    model: str
    version: str
    at: datetime
    """Moment of the prediction, event time, aware."""
    served_at: datetime
    """Wall-clock time of the answer."""
    replica: str
    instance: Mapping[str, Any]
    """The request, JSON-safe."""
    features: Mapping[str, float | None]
    """The features as the model saw them."""
    score: float
    decision: Mapping[str, Any]
    flags: tuple[str, ...] = ()
    test: bool = False
    """Test traffic: kept, but no monitor looks at it."""
    milliseconds: float = 0.0
    """Spent on the request that this prediction was part of, up to the log."""
    keys: Mapping[str, Any] | None = None
    """What the features were looked up by, as `Application.feature_row` gave it; moments become ISO 8601."""


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """What came true."""

    prediction_id: str
    label: int
    at: datetime
    """When it became known, event time, aware."""
    received_at: datetime
    """Wall-clock time."""


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


@dataclass(frozen=True)
class PredictionLog:
    """One writer's end of the log of one model; threads may share it.

    >>> import tempfile
    >>> from datetime import UTC
    >>> root = Path(tempfile.mkdtemp())
    >>> noon = datetime(2013, 4, 1, 12, tzinfo=UTC)
    >>> log = PredictionLog(root, "flight-delay", fsync=False)
    >>> log.append([PredictionRecord("pred_1", "flight-delay", "3", noon, noon, "r1", {"carrier": "UA"},
    ...                              {"wind": 8.0}, 0.25, {"risk": "low"})])
    >>> log.append_labels([LabelRecord("pred_1", 1, noon, noon)])
    >>> log.close()
    >>> read_labelled(root, "flight-delay", noon, datetime(2013, 4, 2, tzinfo=UTC), known_by=noon).select(
    ...     "score", "feature.wind", "label").rows()
    [(0.25, 8.0, 1)]
    """

    root: Path
    model: str
    fsync: bool = True
    """Whether `append` waits for the disk itself; see the module's promises."""
    _predictions: SegmentWriter = field(init=False, repr=False)
    _labels: SegmentWriter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        folder = self.root / self.model
        object.__setattr__(self, "_predictions", SegmentWriter(folder / "predictions", self.fsync))
        object.__setattr__(self, "_labels", SegmentWriter(folder / "labels", self.fsync))

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Write predictions; when this returns they are as safe as the module promises.

        Raises:
            ServingError: the disk is full or broken. The predictions must not be answered, although some of
                them may be in the log.
        """
        _append(self._predictions, records)

    def append_labels(self, records: Sequence[LabelRecord]) -> None:
        """Write labels; the same promises and errors as `append`."""
        _append(self._labels, records)

    def close(self) -> None:
        """Close the files; a later append begins new ones."""
        self._predictions.close()
        self._labels.close()


def _append(writer: SegmentWriter, records: Sequence[PredictionRecord] | Sequence[LabelRecord]) -> None:
    for day, group in groupby(records, key=lambda record: utc(record.at).date()):
        lines = b"".join(orjson.dumps(record, str, orjson.OPT_APPEND_NEWLINE) for record in group)
        try:
            writer.append(day, lines)
        except OSError as error:
            raise ServingError(
                f"the log cannot be written: {writer.root}: {error.strerror or error}",
                hint="free space there; nothing is answered that is not logged",
            ) from error


def read_predictions(
    root: Path, model: str, start: datetime, end: datetime, include_test: bool = False
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
    """
    last = (utc(end) - timedelta(microseconds=1)).date()  # the end itself is not in it
    lines = read_segments(root / model / "predictions", utc(start).date(), last, _PREDICTION)
    frame = _with_moments(lines.frame, "at", "served_at").filter(
        pl.col("at").is_between(start, end, closed="left") & (~pl.col("test") | include_test)
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
    predictions = read_segments(root / model / "predictions", date.min, date.max, _PREDICTION)
    labels = read_segments(root / model / "labels", date.min, date.max, _LABEL)
    by_prediction = labels.frame.group_by("prediction_id").agg(pl.col("label").n_unique())
    return LogCounts(
        predictions=predictions.frame.height,
        labels=labels.frame.height,
        torn=predictions.torn + labels.torn,
        unmatched=by_prediction.join(predictions.frame, on="prediction_id", how="anti").height,
        contradicted=by_prediction.filter(pl.col("label") > 1).height,
    )


def _label_lines(root: Path, model: str, first: date, last: date) -> pl.DataFrame:
    return _with_moments(
        read_segments(root / model / "labels", first, last, _LABEL).frame, "at", "received_at"
    )


def _with_moments(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(columns).str.to_datetime(_MOMENT, time_unit="us", time_zone="UTC"))
