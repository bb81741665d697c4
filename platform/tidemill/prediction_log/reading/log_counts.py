"""Count the prediction log's records and irregularities, one date at a time to bound memory."""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from tidemill.prediction_log.labels.label_matching import IS_LABEL, LABELLED_ID, matched
from tidemill.prediction_log.log_records import SHADOW
from tidemill.prediction_log.reading.log_files import Rows, read_files
from tidemill.prediction_log.storage.log_schema import TYPED
from tidemill.prediction_log.storage.manifests import Kind, partitions, retry_after_compaction

__all__ = ["Files", "LogCounts", "count_files", "count_log"]

_PLAIN = ("prediction_id", "shadow_of", "at", "role", "test")
_GIVEN = {"prediction_id": pl.UInt64(), "label": pl.UInt64()}


@dataclass(frozen=True)
class LogCounts:
    """Counts of a log's records and irregularities."""

    predictions: int
    """Test traffic and shadows included."""
    labels: int
    """Labels, each once however often it was sent; invalid ones are counted a record."""
    torn: int
    """Lines that a crash left incomplete."""
    unmatched: int
    """Labels of predictions that the log does not hold: each id once, each set of keys and moment once."""
    contradicted: int
    """Predictions that were given different labels; the latest ``at`` counts."""
    invalid: int = 0
    """Label records that are neither 0 nor 1 and have no target; they are ignored."""
    test: int = 0
    shadows: int = 0
    first_at: datetime | None = None
    """Event time of the oldest prediction."""
    last_at: datetime | None = None


@dataclass(frozen=True)
class Files:
    """The files and bytes of one kind of record, on disk or in the store."""

    segments: int
    segment_bytes: int
    parts: int
    part_rows: int
    part_bytes: int


@dataclass(frozen=True)
class _Labels:
    """All labels, reduced to the columns needed for counting."""

    given: pl.DataFrame
    """Hashes of the id of a prediction, and of a label that it was given."""
    by_keys: pl.DataFrame
    invalid: int
    torn: int


@dataclass(frozen=True)
class _Day:
    """The predictions of one date."""

    ids: pl.Series
    """Hashes: 8 bytes a prediction instead of 31."""
    given: pl.DataFrame
    """The labels that they were given by keys, as in `_Labels`."""
    met: frozenset[tuple[object, ...]]
    """Keys and moments of labels that are of one of them."""
    test: int
    shadows: int
    first_at: datetime | None
    last_at: datetime | None
    torn: int


def count_log(root: Path, model: str) -> LogCounts:
    """Count the log's records; of predictions it reads only ids, and keys if labels were given by keys.

    Raises:
        ServingError: the log cannot be read.
    """
    labels = _labels(root, model)
    distinct = (
        labels.given.unique().height
        + labels.by_keys.unique(["keys", "predicted_at", "label", "target"]).height
    )
    days = [_count(root, model, day, labels.by_keys) for day in _days(root, model, "predictions")]
    known = pl.concat([pl.Series("prediction_id", [], pl.UInt64), *(day.ids for day in days)])
    by_id = labels.given["prediction_id"].unique()
    keyed = frozenset(labels.by_keys.select("keys", "predicted_at").rows())
    given = pl.concat([labels.given, *(day.given for day in days)]).group_by("prediction_id")
    return LogCounts(
        predictions=known.len(),
        labels=distinct + labels.invalid,
        torn=labels.torn + sum(day.torn for day in days),
        unmatched=by_id.len()
        - int(by_id.is_in(known.implode()).sum())
        + len(keyed.difference(*(day.met for day in days))),
        contradicted=given.agg(pl.col("label").n_unique()).filter(pl.col("label") > 1).height,
        invalid=labels.invalid,
        test=sum(day.test for day in days),
        shadows=sum(day.shadows for day in days),
        first_at=min((day.first_at for day in days if day.first_at), default=None),
        last_at=max((day.last_at for day in days if day.last_at), default=None),
    )


def count_files(root: Path, model: str, kind: Kind) -> Files:
    """Count the files of one kind of record without reading them."""
    found = partitions(root, model, kind, date.min, date.max)
    sizes = [path.stat().st_size for each in found for path in each.segments if path.exists()]
    parts = [located.part for each in found for located in each.parts]
    rows, size = sum(part.rows for part in parts), sum(part.bytes for part in parts)
    return Files(len(sizes), sum(sizes), len(parts), rows, size)


def _days(root: Path, model: str, kind: Kind) -> list[date]:
    return [each.day for each in partitions(root, model, kind, date.min, date.max)]


def _labels(root: Path, model: str) -> _Labels:
    given, by_keys = [pl.DataFrame(schema=_GIVEN)], [pl.DataFrame(schema=TYPED["labels"])]
    torn = invalid = 0
    for day in _days(root, model, "labels"):
        frame, skipped = _read(root, model, "labels", day, tuple(TYPED["labels"]))
        valid = frame.filter(IS_LABEL)
        given.append(_hashed(valid))
        by_keys.append(valid.filter(pl.col("prediction_id").is_null()))
        torn, invalid = torn + skipped, invalid + frame.height - valid.height
    return _Labels(pl.concat(given), pl.concat(by_keys), invalid, torn)


def _count(root: Path, model: str, day: date, by_keys: pl.DataFrame) -> _Day:
    ours = by_keys.filter(pl.col("predicted_at").dt.date() == day)
    frame, torn = _read(root, model, "predictions", day, (*_PLAIN, "keys") if ours.height else _PLAIN)
    labels = pl.DataFrame(schema=TYPED["labels"])
    if ours.height:
        labelled = pl.coalesce("shadow_of", "prediction_id").alias(LABELLED_ID)
        labels = matched(ours, frame.with_columns(labelled))
    return _Day(
        frame["prediction_id"].hash(),
        _hashed(labels),
        frozenset(labels.select("keys", "predicted_at").rows()),
        int(frame["test"].sum()),
        frame.filter(pl.col("role") == SHADOW).height,
        frame["at"].min(),  # type: ignore[arg-type]
        frame["at"].max(),  # type: ignore[arg-type]
        torn,
    )


def _read(
    root: Path, model: str, kind: Kind, day: date, columns: tuple[str, ...]
) -> tuple[pl.DataFrame, int]:
    found = retry_after_compaction(
        root, model, kind, (day, day), lambda files: read_files(files, kind, Rows(columns=columns))
    )
    return found.frame, found.torn


def _hashed(labels: pl.DataFrame) -> pl.DataFrame:
    by_id = labels.filter(pl.col("prediction_id").is_not_null())
    label = pl.struct("label", "target").hash().alias("label")
    return by_id.select(pl.col("prediction_id").hash(), label).unique()
