"""From calls to logged answers: features, models, business logic, log. No HTTP here, and no Ray."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel

from tidemill.clock import Clock
from tidemill.errors import ServingError
from tidemill.features.online import FeatureRow
from tidemill.ids import new_id
from tidemill.serving.application import Application
from tidemill.serving.calls import Answer, Call, Prediction
from tidemill.serving.hooks import Meter, NoMeter, Served, Shadow
from tidemill.serving.lanes import CHAMPION, Serving
from tidemill.serving.loaded import FloatMatrix, LoadedModel
from tidemill.serving.predictions import LabelRecord, PredictionLog, PredictionRecord

__all__ = ["GIVEN", "UNLOGGED", "LoadedModel", "ModelFailed", "NoChampion", "Predictor"]

Request = TypeVar("Request", bound=BaseModel)

GIVEN = "features:given"
"""Flag of a prediction whose features came with the request."""
UNLOGGED = "fallback:log"
"""Flag of a prediction that waits in memory for a disk that takes nothing."""


class NoChampion(ServingError):
    """There is no model to answer with yet."""


class ModelFailed(ServingError):
    """The model raised an error, or gave something that is no probability."""


class _Row(NamedTuple):
    """What is asked for, once."""

    call: Call
    moment: datetime
    model: LoadedModel
    role: str
    instance: Any = None
    keys: Mapping[str, object] | None = None
    given: Sequence[float] | None = None


@dataclass(frozen=True)
class Predictor(Generic[Request]):
    """Answers calls, and has each answer in the log before it gives it out. Threads may share it."""

    application: Application[Request]
    model: str
    """Name of the registered model."""
    serving: Callable[[], Serving | None]
    """The versions of this moment. Asked once a batch, so that a swap never divides a call."""
    log: PredictionLog
    replica: str
    clock: Clock
    meter: Meter = field(default_factory=NoMeter)
    shadow: Shadow | None = None
    """Gets a copy of what was answered while there are shadows."""

    def answer(self, calls: Sequence[Call]) -> list[Answer | Exception]:
        """Return for each call an answer that is on record, or why there is none.

        Calls share one lookup, one call of each model and one write of the log. If that fails, each is
        answered alone, so that one that fails takes no other with it.
        """
        try:
            return list(self._answer(calls))
        except Exception as error:  # noqa: BLE001 — the error is the answer
            if len(calls) > 1:
                return [answer for call in calls for answer in self.answer([call])]
            return [self._without_secrets(calls[0], error)]

    def predict(self, instances: Sequence[Request], at: datetime | None = None, test: bool = False) -> Answer:
        """Return the answer to one call.

        Args:
            instances: what to predict for; at least one.
            at: the moment of the prediction, event time, aware; none for now.
            test: marks test traffic in the log.

        Raises:
            NoChampion: there is no model yet.
            FeatureError: the features cannot be read.
            ModelFailed: the model cannot score these features.
        """
        (answer,) = self.answer([Call(instances, at=at, test=test)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def label(self, labels: Sequence[tuple[str, int, datetime | None]]) -> int:
        """Log labels: prediction id, 0 or 1, the moment it became known (event time; none for now).

        Raises:
            ServingError: the log cannot be written.
        """
        now = self.clock.now()
        self.log.append_labels([LabelRecord(name, label, at or now, now) for name, label, at in labels])
        return len(labels)

    def _answer(self, calls: Sequence[Call]) -> list[Answer]:
        began = time.perf_counter()
        serving = self.serving()
        if serving is None:
            raise NoChampion(
                f"no version of {self.model} answers yet: GET /model says why",
                hint="`tidemill run --promote` makes a champion",
            )
        served_at = self.clock.now()
        rows = [row for call in calls for row in self._rows(serving, call, call.at or served_at)]
        features = _read(rows)
        scores = self._score(rows, features)
        decide = self.application.decide
        decisions: list[Mapping[str, Any]] = [
            {} if row.instance is None else dict(decide(row.instance, score))
            for row, score in zip(rows, scores, strict=True)
        ]
        records = self._records(rows, features, scores, decisions, served_at, began)
        further = () if self.log.append(records) else (UNLOGGED,)
        self.meter.flags(features)
        if further:
            self.meter.flag(UNLOGGED, len(rows))
        if self.shadow is not None and serving.shadows:
            self.shadow.offer(serving, _served(rows, features, records))
        answered = iter(
            [
                Prediction(
                    record.prediction_id,
                    row.model.version,
                    row.role,
                    record.score,
                    decision,
                    record.flags + further,
                )
                for row, record, decision in zip(rows, records, decisions, strict=True)
            ]
        )
        return [Answer(tuple(next(answered) for _ in range(call.rows))) for call in calls]

    def _rows(self, serving: Serving, call: Call, moment: datetime) -> list[_Row]:
        champion = serving.champion
        if call.instances is None:
            given = [] if call.features is None else call.features.tolist()
            if not serving.splits:
                return [_Row(call, moment, champion, CHAMPION, given=values) for values in given]
            key = call.request_id or new_id("req")
            return [_Row(call, moment, *serving.assign(key), given=values) for values in given]
        feature_row = self.application.feature_row
        pairs = [(instance, feature_row(instance)) for instance in call.instances]  # type: ignore[arg-type]
        if not serving.splits:
            return [_Row(call, moment, champion, CHAMPION, *pair) for pair in pairs]
        return [_Row(call, moment, *serving.assign(serving.key(*pair)), *pair) for pair in pairs]

    def _score(self, rows: Sequence[_Row], features: Sequence[FeatureRow]) -> list[float]:
        """Return the score of each row: one call of each model."""
        first = rows[0].model
        if all(row.model is first for row in rows):
            return self._scored(first, features)
        scores = [0.0] * len(rows)
        for model in {id(row.model): row.model for row in rows}.values():
            places = [place for place, row in enumerate(rows) if row.model is model]
            for place, score in zip(places, self._scored(model, [features[p] for p in places]), strict=True):
                scores[place] = score
        return scores

    def _scored(self, model: LoadedModel, features: Sequence[FeatureRow]) -> list[float]:
        try:
            scores: list[float] = model.scorer.score(_matrix(model, features)).tolist()
        except Exception as error:  # a model can fail in any way
            raise ModelFailed(
                f"version {model.version} of {self.model} cannot score this: {error!r}",
                hint="`tidemill rollback` goes back to the version before",
            ) from error
        if len(scores) != len(features) or not all(map(math.isfinite, scores)):
            raise ModelFailed(
                f"version {model.version} of {self.model} gave {scores[:3]} … for {len(features)} rows",
                hint="`tidemill rollback` goes back to the version before",
            )
        return scores

    def _records(
        self,
        rows: Sequence[_Row],
        features: Sequence[FeatureRow],
        scores: Sequence[float],
        decisions: Sequence[Mapping[str, Any]],
        served_at: datetime,
        began: float,
    ) -> list[PredictionRecord]:
        spent = (time.perf_counter() - began) * 1000
        return [
            PredictionRecord(
                prediction_id=new_id("pred"),
                model=self.model,
                version=row.model.version,
                at=row.moment,
                served_at=served_at,
                replica=self.replica,
                instance={}
                if row.instance is None
                else row.model.hiding.values(row.instance.model_dump(mode="json")),
                features=row.model.hiding.features(values.values),
                score=score,
                decision=row.model.hiding.values(decision),
                flags=values.flags,
                test=row.call.test,
                milliseconds=spent,
                keys=None if row.keys is None else row.model.hiding.values(row.keys),
                role=row.role,
                caller=row.call.caller,
                request_id=row.call.request_id,
            )
            for row, values, score, decision in zip(rows, features, scores, decisions, strict=True)
        ]

    def _without_secrets(self, call: Call, error: Exception) -> Exception:
        serving = self.serving()
        if serving is None or not call.instances:
            return error
        try:
            with serving.champion.hiding.in_errors(call.instances):
                raise error
        except Exception as shown:  # noqa: BLE001 — the error is the answer
            return shown


def _read(rows: Sequence[_Row]) -> list[FeatureRow]:
    """Return the features of each row: one lookup for the versions that share a reader."""
    found: list[FeatureRow | None] = [None] * len(rows)
    for reader in {id(row.model.features): row.model.features for row in rows}.values():
        names = [name for _, name in reader.features]
        places = []
        for place, row in enumerate(rows):
            if row.model.features is not reader:
                continue
            if row.given is None:
                places.append(place)
            else:
                values = [None if value != value else value for value in row.given]  # NaN
                found[place] = FeatureRow(dict(zip(names, values, strict=True)), (GIVEN,))
        if places:
            keys = [rows[place].keys or {} for place in places]
            read = reader.read(keys, [rows[place].moment for place in places])
            for place, values_read in zip(places, read, strict=True):
                found[place] = values_read
    return [row for row in found if row is not None]


def _matrix(model: LoadedModel, features: Sequence[FeatureRow]) -> FloatMatrix:
    columns = model.scorer.features
    return np.array([[row.values[name] for name in columns] for row in features], dtype=np.float64)


def _served(
    rows: Sequence[_Row], features: Sequence[FeatureRow], records: Sequence[PredictionRecord]
) -> list[Served]:
    return [
        Served(row.instance, row.keys, row.moment, values, row.model, record)
        for row, values, record in zip(rows, features, records, strict=True)
    ]
