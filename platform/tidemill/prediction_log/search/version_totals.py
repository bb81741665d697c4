"""Count the predictions of each version in the log, a piece at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from tidemill.clock import utc
from tidemill.prediction_log.labels.label_matching import IS_LABEL
from tidemill.prediction_log.log_records import LABEL_COLUMNS
from tidemill.prediction_log.search.part_search import count_pieces
from tidemill.prediction_log.search.record_search import in_log, lines_of, segments_of
from tidemill.prediction_log.storage.manifests import Partition
from tidemill.prediction_log.storage.ndjson_reader import is_object

__all__ = ["VersionTotals", "count_by_version"]

_BATCH = 1_000_000
_MOMENT = "%Y-%m-%dT%H:%M:%S%.f%:z"
_COUNTED: Mapping[str, pl.DataType] = {
    **dict.fromkeys(("prediction_id", "version", "at", "replica"), pl.String()),
    "test": pl.Boolean(),
}


@dataclass(frozen=True)
class VersionTotals:
    """The numbers of one version in the log."""

    predictions: int
    """Test traffic included."""
    test: int
    labelled: int
    """Predictions with a label."""
    first_at: datetime
    """Event time."""
    last_at: datetime
    replicas: tuple[str, ...]


def count_by_version(root: Path, model: str) -> dict[str, VersionTotals]:
    """Count the predictions of each version of a model. Reads all of the log, a piece at a time.

    Raises:
        DataError: a segment cannot be read.
    """
    labelled = in_log(root, model, "labels", _labelled)
    counts = in_log(
        root,
        model,
        "predictions",
        lambda found: [_count(lines, labelled) for lines in _batches(_pieces(found, _COUNTED))],
    )
    if not counts:
        return {}
    summed = (
        pl.concat(counts)
        .group_by("version")
        .agg(
            pl.col("predictions", "test", "labelled").sum(),
            pl.col("first_at").min(),
            pl.col("last_at").max(),
            pl.col("replicas").explode().unique().sort(),
        )
        .sort("version")
    )
    return {
        row.pop("version"): VersionTotals(
            **row
            | {"first_at": utc(row["first_at"]), "last_at": utc(row["last_at"])}
            | {"replicas": tuple(row["replicas"])}
        )
        for row in summed.rows(named=True)
    }


def _count(lines: pl.DataFrame, labelled: pl.DataFrame) -> pl.DataFrame:
    return (
        lines.filter(pl.col("version").is_not_null())
        .with_columns(pl.col("at").str.to_datetime(_MOMENT, time_zone="UTC"))
        .join(labelled, on="prediction_id", how="left")
        .group_by("version")
        .agg(
            pl.len().alias("predictions"),
            pl.col("test").sum(),
            pl.col("labelled").sum(),
            pl.col("at").min().alias("first_at"),
            pl.col("at").max().alias("last_at"),
            pl.col("replica").unique().alias("replicas"),
        )
    )


def _labelled(found: Sequence[Partition]) -> pl.DataFrame:
    """Return a hash of the id of each prediction that has a label: 8 bytes a prediction instead of 31."""
    schema = {name: LABEL_COLUMNS[name] for name in ("prediction_id", "label", "target")}
    by_id = pl.col("prediction_id").is_not_null()
    hashes = [
        lines.filter(IS_LABEL, by_id).select(pl.col("prediction_id").hash())
        for lines in _pieces(found, schema)
    ]
    none = pl.DataFrame(schema={"prediction_id": pl.UInt64})
    return pl.concat([none, *hashes]).unique().with_columns(labelled=True)


def _batches(pieces: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Combine pieces to ``_BATCH`` rows: looking up labels costs as much for few rows as for many."""
    held, rows = list[pl.DataFrame](), 0
    for piece in pieces:
        held.append(piece.with_columns(pl.col("prediction_id").hash()))
        rows += piece.height
        if rows >= _BATCH:
            yield pl.concat(held)
            held, rows = [], 0
    if held:
        yield pl.concat(held)


def _pieces(found: Sequence[Partition], schema: Mapping[str, pl.DataType]) -> Iterator[pl.DataFrame]:
    """Yield the named columns of all whole lines of a log, a piece at a time."""
    yield from count_pieces(found, schema)
    for path in segments_of(found):
        for lines in lines_of(path):
            try:
                yield pl.read_ndjson(lines, schema=schema, ignore_errors=True)
            except pl.exceptions.PolarsError:  # a power failure can leave holes
                sound = b"\n".join(line for line in lines.split(b"\n") if is_object(line))
                yield pl.read_ndjson(sound, schema=schema) if sound else pl.DataFrame(schema=schema)
