"""Count labels of predictions that the log does not hold; reads one date at a time, and only ids and keys."""

from datetime import date
from pathlib import Path

import polars as pl

from tidemill.prediction_log.labels.label_matching import LABELLED_ID, matched
from tidemill.prediction_log.reading.log_files import Rows, read_files
from tidemill.prediction_log.storage.manifests import partitions, retry_after_compaction

__all__ = ["count_unmatched"]

_ID = ("prediction_id",)
_KEYED = ("prediction_id", "shadow_of", "at", "keys")


def count_unmatched(root: Path, model: str, labels: pl.DataFrame) -> int:
    """Return how many labels are of no prediction in the log.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        labels: ``prediction_id``, or else ``keys`` (JSON text) and ``predicted_at``, of each label.

    Raises:
        ServingError: the log cannot be read.
    """
    by_id = labels.filter(pl.col("prediction_id").is_not_null())
    by_keys = labels.filter(pl.col("prediction_id").is_null())
    found = partitions(root, model, "predictions", date.min, date.max)
    for day in sorted((each.day for each in found), reverse=True):
        if by_id.height:
            by_id = by_id.join(_read(root, model, day, _ID), on="prediction_id", how="anti")
        here = by_keys.filter(pl.col("predicted_at").dt.date() == day)
        if here.height:
            labelled = pl.coalesce("shadow_of", "prediction_id").alias(LABELLED_ID)
            met = matched(here, _read(root, model, day, _KEYED).with_columns(labelled))
            by_keys = by_keys.join(met, on=["keys", "predicted_at"], how="anti")
        if not by_id.height and not by_keys.height:
            break
    return by_id.height + by_keys.height


def _read(root: Path, model: str, day: date, columns: tuple[str, ...]) -> pl.DataFrame:
    wanted = Rows(columns=columns)
    return retry_after_compaction(
        root, model, "predictions", (day, day), lambda files: read_files(files, "predictions", wanted).frame
    )
