"""A model version that is ready to answer, and the interfaces of its parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tidemill.features.request_features import FeatureRow
from tidemill.plurals import counted
from tidemill.prediction_log.writing.redaction import NO_REDACTION, Redaction
from tidemill.registry.versions.loaded_model import Scores, Texts
from tidemill.tasks.task import Task

__all__ = ["FeatureReader", "FloatMatrix", "LoadedModel", "Scorer"]

FloatMatrix = npt.NDArray[np.float64]
"""Features, shape (rows, features); NaN means "not known"."""


class Scorer(Protocol):
    """A loaded model, whatever runs it."""

    @property
    def features(self) -> tuple[str, ...]:
        """Its features, in order."""

    @property
    def task(self) -> Task:
        """What it predicts."""

    @property
    def words(self) -> tuple[str, ...]:
        """Those of its features that are text, in their order."""

    @property
    def lists(self) -> Mapping[str, int]:
        """Those of its features that are lists, and the length of each."""

    @property
    def score(self) -> Callable[[FloatMatrix], Scores]:
        """Answers rows of numbers, each element of a list among them: `tidemill.tasks.task.Answers`."""

    @property
    def mixed(self) -> Callable[[FloatMatrix, Texts], Scores] | None:
        """The same for the features that are numbers, and the texts; None if it takes no text."""


class FeatureReader(Protocol):
    """Reads the features of requests."""

    @property
    def features(self) -> tuple[tuple[str, str], ...]:
        """View and name of each feature, in the order of a row's values."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of a row that are entity keys."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of a row, beside the keys, that features are taken or computed from."""

    @property
    def truths(self) -> frozenset[str]:
        """The features that are truth values."""

    @property
    def gaps(self) -> Mapping[str, Callable[[object], object]]:
        """What makes None of words such as N/A, by the text features in which they are gaps."""

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

    @property
    def task(self) -> Task:
        """What it predicts."""
        return self.scorer.task

    def answers(self, features: Sequence[FeatureRow]) -> list[Any]:
        """Return what the model answers, a number, a list or a JSON value for each row.

        What it gives is not checked (`gives_all`); whatever it raises is passed on.
        """
        scorer = self.scorer
        if scorer.mixed is None:
            given: list[Any] = scorer.score(_matrix(features, scorer.features, scorer.lists)).tolist()
            return given
        words = scorer.words
        numbers = [name for name in scorer.features if name not in words]
        matrix = _matrix(features, numbers, scorer.lists)
        if not numbers:
            matrix = matrix.reshape(len(features), 0)
        texts = [[_text(row.values[name]) for name in words] for row in features]
        found: list[Any] = scorer.mixed(matrix, texts).tolist()
        return found

    def gives_all(self, answers: Sequence[Any], rows: int) -> bool:
        """Return whether these are answers to so many rows, each of them one that can be used."""
        return len(answers) == rows and self.scorer.task.is_sound(answers)


def _matrix(features: Sequence[FeatureRow], names: Sequence[str], lists: Mapping[str, int]) -> FloatMatrix:
    """Return features as rows of numbers, each element of a list as one of its own."""
    if lists:
        lengths = [lists.get(name) for name in names]
        rows = [_numbers(row, names, lengths) for row in features]
        return np.array(rows, dtype=np.float64)
    return np.array([[row.values[name] for name in names] for row in features], dtype=np.float64)


def _numbers(row: FeatureRow, names: Sequence[str], lengths: Sequence[int | None]) -> list[Any]:
    found: list[Any] = []
    for name, length in zip(names, lengths, strict=True):
        value: Any = row.values[name]
        if length is None:
            found.append(value)
        elif value is None:
            found.extend([None] * length)
        elif len(value) != length:
            raise ValueError(
                f"{name} is a list of {counted(len(value), 'number')}, and the model takes {length}"
            )
        else:
            found.extend(value)
    return found


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
