"""A model version that is ready to answer, and the interfaces of its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tidemill.features.online.online_features import FeatureRow
from tidemill.prediction_log.writing.redaction import NO_REDACTION, Redaction

__all__ = ["FeatureReader", "FloatMatrix", "LoadedModel", "Scorer"]

FloatMatrix = npt.NDArray[np.float64]
"""Features, shape (rows, features); NaN means "not known"."""


class Scorer(Protocol):
    """A loaded model, whatever runs it."""

    @property
    def features(self) -> tuple[str, ...]:
        """Its features, in order."""

    def score(self, matrix: FloatMatrix) -> FloatMatrix:
        """Return the probability of label 1 for each row, shape (rows,)."""


class FeatureReader(Protocol):
    """Reads the features of requests."""

    @property
    def features(self) -> tuple[tuple[str, str], ...]:
        """View and name of each feature, in the order of a row's values."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of a row that are entity keys."""

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row, as of its moment."""


@dataclass(frozen=True)
class LoadedModel:
    """A model version that is ready to answer, with the features it was made for: they change together."""

    version: str
    scorer: Scorer
    features: FeatureReader
    loaded_at: datetime
    """Wall-clock time."""
    redaction: Redaction = NO_REDACTION
    """What of a prediction is personal by the definitions of ``features``, and does not go into the log."""
