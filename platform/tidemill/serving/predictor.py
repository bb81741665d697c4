"""From instances to logged answers: features, model, business logic, log. No HTTP here, and no Ray."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel

from tidemill.clock import Clock
from tidemill.errors import ServingError
from tidemill.features.online import FeatureRow
from tidemill.ids import new_id
from tidemill.serving.application import Application
from tidemill.serving.hiding import NOTHING_HIDDEN, Hiding
from tidemill.serving.predictions import LabelRecord, PredictionLog, PredictionRecord

__all__ = [
    "Answer",
    "FeatureReader",
    "LoadedModel",
    "ModelFailed",
    "NoChampion",
    "Prediction",
    "Predictor",
    "Scorer",
    "as_frame",
]

Request = TypeVar("Request", bound=BaseModel)


class Scorer(Protocol):
    """A loaded model, whatever runs it."""

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of label 1 for each row."""


class FeatureReader(Protocol):
    """Where the features of a request come from."""

    def read(self, rows: Sequence[Mapping[str, object]], at: Sequence[datetime]) -> list[FeatureRow]:
        """Return the features of each row, as of its moment."""


class NoChampion(ServingError):
    """There is no model to answer with yet."""


class ModelFailed(ServingError):
    """The model raised an error, or gave something that is no probability."""


@dataclass(frozen=True)
class LoadedModel:
    """A model version that is ready to answer, with the features it was made for: they change together."""

    version: str
    scorer: Scorer
    features: FeatureReader
    loaded_at: datetime
    """Wall-clock time."""
    hiding: Hiding = NOTHING_HIDDEN
    """What of a prediction is personal by the definitions of ``features``, and does not go into the log."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is answered for one instance."""

    prediction_id: str
    probability: float
    decision: dict[str, Any]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to one request: all of it by one and the same version."""

    version: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class Predictor(Generic[Request]):
    """Answers requests, and has each answer in the log before it gives it out. Threads may share it."""

    application: Application[Request]
    model: str
    """Name of the registered model."""
    loaded: Callable[[], LoadedModel | None]
    """The model of this moment. Asked once a request, so that a swap never mixes two versions in one."""
    log: PredictionLog
    replica: str
    clock: Clock
    count: Callable[[Sequence[FeatureRow]], None] = lambda rows: None
    """Told of the features of every answer."""

    def predict(self, instances: Sequence[Request], at: datetime | None = None, test: bool = False) -> Answer:
        """Return an answer that is on record.

        Args:
            instances: what to predict for; at least one.
            at: the moment of the prediction, event time, aware; none for now.
            test: marks test traffic in the log.

        Raises:
            NoChampion: there is no model yet.
            FeatureError: the features cannot be read.
            ModelFailed: the model cannot score these features.
            ServingError: the log cannot be written.
        """
        began = time.perf_counter()
        current = self.loaded()
        if current is None:
            raise NoChampion(
                f"no version of {self.model} answers yet: GET /model says why",
                hint="`tidemill run --promote` makes a champion",
            )
        served_at = self.clock.now()
        with current.hiding.in_errors(instances):
            return self._predict(current, instances, at or served_at, served_at, test, began)

    def _predict(
        self,
        current: LoadedModel,
        instances: Sequence[Request],
        moment: datetime,
        served_at: datetime,
        test: bool,
        began: float,
    ) -> Answer:
        keys = [self.application.feature_row(instance) for instance in instances]
        rows = current.features.read(keys, [moment] * len(instances))
        self.count(rows)
        scores = self._score(current, rows)
        answer = Answer(
            current.version,
            tuple(
                Prediction(new_id("pred"), score, dict(self.application.decide(instance, score)), row.flags)
                for instance, row, score in zip(instances, rows, scores, strict=True)
            ),
        )
        spent, hiding = (time.perf_counter() - began) * 1000, current.hiding
        self.log.append(
            [
                PredictionRecord(
                    prediction_id=prediction.prediction_id,
                    model=self.model,
                    version=answer.version,
                    at=moment,
                    served_at=served_at,
                    replica=self.replica,
                    instance=hiding.values(instance.model_dump(mode="json")),
                    features=hiding.features(row.values),
                    score=prediction.probability,
                    decision=hiding.values(prediction.decision),
                    flags=prediction.flags,
                    test=test,
                    milliseconds=spent,
                    keys=hiding.values(key),
                )
                for instance, key, row, prediction in zip(
                    instances, keys, rows, answer.predictions, strict=True
                )
            ]
        )
        return answer

    def label(self, labels: Sequence[tuple[str, int, datetime | None]]) -> int:
        """Log labels: prediction id, 0 or 1, the moment it became known (event time; none for now).

        Raises:
            ServingError: the log cannot be written.
        """
        now = self.clock.now()
        self.log.append_labels([LabelRecord(name, label, at or now, now) for name, label, at in labels])
        return len(labels)

    def _score(self, current: LoadedModel, rows: Sequence[FeatureRow]) -> list[float]:
        try:
            scores: list[float] = current.scorer.predict(as_frame(rows)).tolist()
        except Exception as error:  # a model can fail in any way
            raise ModelFailed(
                f"version {current.version} of {self.model} cannot score this: {error!r}",
                hint="`tidemill rollback` goes back to the version before",
            ) from error
        if len(scores) != len(rows) or not all(map(math.isfinite, scores)):
            raise ModelFailed(
                f"version {current.version} of {self.model} gave {scores[:3]} … for {len(rows)} rows",
                hint="`tidemill rollback` goes back to the version before",
            )
        return scores


def as_frame(rows: Sequence[FeatureRow]) -> pd.DataFrame:
    """Return the features as a frame of float64, shape (rows, features); what is not known is NaN.

    >>> as_frame([FeatureRow({"wind": None, "rain": 1.0}, ())])
       wind  rain
    0   NaN   1.0
    """
    return pd.DataFrame(
        np.array([list(row.values.values()) for row in rows], dtype=np.float64), columns=list(rows[0].values)
    )
