"""The records of the prediction log, answered predictions and labels, and the log's health."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tidemill.project.feature_columns import FeatureValue

__all__ = [
    "FEATURE_PREFIX",
    "LABELS",
    "LABEL_COLUMNS",
    "PREDICTION_COLUMNS",
    "SHADOW",
    "LabelRecord",
    "LogHealth",
    "PredictionRecord",
]

FEATURE_PREFIX = "feature."
"""Prefix of the feature columns of `read_predictions`."""

SHADOW = "shadow"
"""The role of a prediction that was made but not returned to the caller."""

LABELS = (0, 1)
"""The labels of two classes, 1 for the positive one. Others are ignored, and counted by `log_counts`."""

PREDICTION_COLUMNS: Mapping[str, pl.DataType] = {
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
    "role": pl.String(),
    "shadow_of": pl.String(),
    "caller": pl.String(),
    "request_id": pl.String(),
    "answer": pl.String(),
}
"""Types of the fields of every prediction's line; nested values of a String column stay JSON."""

LABEL_COLUMNS: Mapping[str, pl.DataType] = {
    "prediction_id": pl.String(),
    "label": pl.Int64(),
    "at": pl.String(),
    "received_at": pl.String(),
    "keys": pl.String(),
    "predicted_at": pl.String(),
    "target": pl.String(),
}
"""Types of the fields of every label's line."""


@dataclass
class PredictionRecord:
    """One answered prediction, as it is logged.

    Neither frozen nor slotted: one is made and written for each prediction, which takes half the time so.
    """

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
    features: Mapping[str, FeatureValue]
    """The features as the model saw them."""
    score: float | None
    """What `Task.scores` gives; None or NaN where an answer is not a number."""
    decision: Mapping[str, Any]
    flags: tuple[str, ...] = ()
    test: bool = False
    """Test traffic: kept, but ignored by monitors."""
    milliseconds: float = 0.0
    """Time spent on this prediction's request before it was logged."""
    keys: Mapping[str, Any] | None = None
    """The keys that features were looked up by, from `Application.feature_row`; moments become ISO 8601.
    None where the request brought its features."""
    role: str = "champion"
    """Why this version answered: ``champion``, ``canary``, ``ab:<name>``, ``named`` (the request asked for
    it); ``shadow`` if it did not answer."""
    shadow_of: str | None = None
    """For a shadow: the id of the prediction that was answered."""
    caller: str | None = None
    """Id of the caller's API key."""
    request_id: str | None = None
    """The caller's own id of the request."""
    answer: str | None = None
    """What `Task.logged` gives: the whole answer as JSON; None where the score is all of it."""


@dataclass(frozen=True, slots=True)
class LabelRecord:
    """The true label of one prediction, or of those with these keys at that moment.

    Either ``prediction_id`` is given, or ``keys`` and ``predicted_at`` are; and either ``label`` or
    ``target``, as `Task.label_given` returns them.
    """

    prediction_id: str | None
    label: int | None
    """Of two classes: 1 for the positive one, 0 for the other."""
    at: datetime
    """When it became known, event time, aware."""
    received_at: datetime
    """Wall-clock time."""
    keys: Mapping[str, Any] | None = None
    """Some or all of `PredictionRecord.keys`, hidden in the same way."""
    predicted_at: datetime | None = None
    """`PredictionRecord.at` of the predictions meant."""
    target: str | None = None
    """Of any other task: a number or a class as text, or JSON."""


@dataclass(frozen=True)
class LogHealth:
    """The health of one replica's log."""

    error: str | None = None
    """Why predictions are not on disk right now; None if they are."""
    waiting: int = 0
    """Predictions in memory that could not be written yet."""
    waiting_bytes: int = 0
    lost: int = 0
    """Predictions that were answered and will never be in the log, since the replica began."""
    since: datetime | None = None
    """Wall-clock time from which on ``error`` holds."""

    @property
    def ok(self) -> bool:
        """Whether everything answered is on disk."""
        return self.error is None
