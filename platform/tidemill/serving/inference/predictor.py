"""Answer calls and log the answers: features, models, business logic, log. Without HTTP or Ray."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tidemill.clock import Clock
from tidemill.errors import ServingError
from tidemill.features.request_features import FeatureRow
from tidemill.ids import new_id
from tidemill.prediction_log.labels.label_matching import GivenLabel, as_records
from tidemill.prediction_log.prediction_log import PredictionLog, PredictionRecord
from tidemill.prediction_log.writing.redaction import NO_REDACTION
from tidemill.serving.inference.application import Application
from tidemill.serving.inference.calls import Answer, Call, Failure, Prediction, Refused
from tidemill.serving.inference.hooks import Meter, NoMeter, Shadow
from tidemill.serving.inference.label_refusals import refuse_future, refuse_unknown_keys
from tidemill.serving.inference.prediction_records import Batch, records_of
from tidemill.serving.inference.refused_values import refuse_large_integers
from tidemill.serving.inference.row_scoring import (
    FALLBACK,
    GIVEN,
    ModelFailed,
    Row,
    read_features,
    score_rows,
)
from tidemill.serving.observability.request_tracing import Stopwatch
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.shadows import ServedRow
from tidemill.serving.routing.traffic_split import CHAMPION, ServingVersions

__all__ = [
    "FALLBACK",
    "GIVEN",
    "UNLOGGED",
    "Compose",
    "LoadedModel",
    "ModelFailed",
    "NoChampion",
    "Predictor",
]

Request = TypeVar("Request", bound=BaseModel)

UNLOGGED = "fallback:log"
"""Flag of a prediction that waits in memory for a disk that takes nothing."""


Compose = Callable[[list[Row], Sequence[FeatureRow], Sequence[float]], tuple[list[Row], list[float]]]
"""From rows, features and probabilities to the rows with further flags, and the answered probabilities."""


Explain = Callable[[str, Sequence[FeatureRow]], Sequence[Mapping[str, Any]]]


class NoChampion(ServingError):
    """There is no model to answer with yet."""


@dataclass(frozen=True)
class Predictor(Generic[Request]):
    """Answers calls, and has each answer in the log before it gives it out. Threads may share it."""

    application: Application[Request]
    model: str
    """Name of the registered model."""
    serving: Callable[[], ServingVersions | None]
    """The versions of this moment. Asked once a batch, so that a swap never divides a call."""
    log: PredictionLog
    replica: str
    clock: Clock
    meter: Meter = field(default_factory=NoMeter)
    shadow: Shadow | None = None
    """Gets a copy of what was answered while there are shadows."""
    counters: VersionCounters = field(default_factory=VersionCounters)
    """Counts what each version does."""
    explain: Explain | None = None
    """Says what each feature contributed, for a version and rows of features."""
    compose: Compose | None = None
    """Makes the answered scores of those of the project's own model, if it does not answer alone."""
    trouble: Callable[[], str | None] = lambda: None
    """Says why no version answers, where one should."""

    def answer(self, calls: Sequence[Call]) -> list[Answer | Exception]:
        """Return for each call its logged answer, or the failure.

        Calls share one lookup, one call of each model and one write of the log. If that fails, each is
        answered alone, so that one that fails takes no other with it.
        """
        try:
            return list(self._answer(calls))
        except Exception as error:  # noqa: BLE001 — the error is the answer
            if len(calls) > 1:
                return [answer for call in calls for answer in self.answer([call])]
            return [_large_integer(calls[0]) or self._without_secrets(calls[0], error)]

    def predict(self, instances: Sequence[Request], at: datetime | None = None, test: bool = False) -> Answer:
        """Return the answer to one call.

        Args:
            instances: what to predict for; at least one.
            at: the moment of the prediction, event time, aware; None for now.
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

    def label(self, labels: Sequence[GivenLabel]) -> int:
        """Log labels, and return how many; the keys of labels are hidden as those of predictions are.

        Raises:
            NoChampion: a label is given by keys, and what of them is personal is not known yet.
            Refused: a label is given by a key that predictions do not have, or is from the future.
            ServingError: the log cannot be written.
        """
        now = self.clock.now()
        refuse_future(labels, now)
        serving = self.serving()
        if serving is None and any(label.keys is not None for label in labels):
            raise NoChampion(
                f"no version of {self.model} answers yet: which keys are personal is not known",
                hint="send labels by prediction_id, or when a version answers",
            )
        if serving is not None:
            refuse_unknown_keys(labels, self.application.request, serving.champion.features)
        redaction = NO_REDACTION if serving is None else serving.champion.redaction
        self.log.append_labels(as_records(labels, now, redaction))
        return len(labels)

    def _answer(self, calls: Sequence[Call]) -> list[Answer]:
        began = time.perf_counter()
        serving = self.serving()
        if serving is None:
            why = self.trouble()
            raise NoChampion(
                f"no version of {self.model} answers yet: {why or 'no version is champion'}",
                hint="GET /model says more" if why else "`tidemill run --promote` makes a champion",
            )
        served_at = self.clock.now()
        watch = Stopwatch(calls) if any(call.trace is not None for call in calls) else None
        rows = [row for call in calls for row in self._rows(serving, call, call.at or served_at)]
        features = read_features(rows)
        if watch is not None:
            watch.lap("features")
        rows, features, answers = score_rows(rows, features, serving.champion, self.model, self.counters)
        if self.compose is not None:
            rows, answers = self.compose(rows, features, answers)
        if watch is not None:
            watch.lap("model")
        asked = any(call.explain for call in calls)
        explanations = self._explanations(rows, features) if asked else {}
        decisions = self._decisions(rows, answers)
        spent = (time.perf_counter() - began) * 1000
        batch = Batch(self.model, self.replica, served_at, spent)
        records = records_of(batch, rows, features, answers, decisions)
        if watch is not None:
            watch.lap("decide")
        further = () if self.log.append(records) else (UNLOGGED,)
        if watch is not None:
            watch.lap("log")
            watch.tell(len(rows))
        self._count_and_shadow(serving, rows, features, records, further)
        predictions = [
            Prediction(
                record.prediction_id,
                row.model.version,
                row.role,
                answer,
                decision,
                record.flags + further,
                explanations.get(place),
                row.model.task,
            )
            for place, (row, record, answer, decision) in enumerate(
                zip(rows, records, answers, decisions, strict=True)
            )
        ]
        return _by_call(calls, predictions)

    def _decisions(self, rows: Sequence[Row], answers: Sequence[Any]) -> list[Mapping[str, Any]]:
        """Return the decision on each row; none where features came with the request."""
        decide = self.application.decide
        return [
            {} if row.instance is None else dict(decide(row.instance, row.model.task.decided_on(answer)))
            for row, answer in zip(rows, answers, strict=True)
        ]

    def _count_and_shadow(
        self,
        serving: ServingVersions,
        rows: Sequence[Row],
        features: Sequence[FeatureRow],
        records: Sequence[PredictionRecord],
        further: Sequence[str],
    ) -> None:
        """Count the flags, and give the shadows their copies."""
        self.meter.flags(features)
        for flag in further:
            self.meter.flag(flag, len(rows))
        told = [flag for row in rows for flag in row.flags if flag == FALLBACK or flag in row.call.flags]
        for flag, count in Counter(told).items() if told else ():
            self.meter.flag(flag, count)
        if self.shadow is not None and serving.shadows:
            self.shadow.offer(serving, _served(rows, features, records))

    def _explanations(
        self, rows: Sequence[Row], features: Sequence[FeatureRow]
    ) -> dict[int, Mapping[str, Any]]:
        """Return the explanations that were asked for, by the place of their rows."""
        wanted: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            if row.call.explain:
                wanted.setdefault(row.model.version, []).append(place)
        if wanted and self.explain is None:
            raise Refused(Failure("unsupported", "this replica cannot explain predictions"))
        return {
            place: explanation
            for version, places in wanted.items()
            if self.explain is not None
            for place, explanation in zip(
                places, self.explain(version, [features[place] for place in places]), strict=True
            )
        }

    def _rows(self, serving: ServingVersions, call: Call, moment: datetime) -> list[Row]:
        fixed = None if serving.splits else (serving.champion, CHAMPION)
        if call.version is not None:
            fixed = _named(serving, call.version, self.model)
        if call.instances is None:
            given = [] if call.features is None else call.features.tolist()
            fixed = fixed or serving.assign(call.request_id or new_id("req"))
            return [
                Row(call, moment, *fixed, None, None, values, call.flags, place)
                for place, values in enumerate(given)
            ]
        feature_row = self.application.feature_row
        pairs = [(instance, feature_row(instance)) for instance in call.instances]  # type: ignore[arg-type]
        return [
            Row(call, moment, *(fixed or serving.assign(serving.key(*pair))), *pair, None, call.flags, place)
            for place, pair in enumerate(pairs)
        ]

    def _without_secrets(self, call: Call, error: Exception) -> Exception:
        serving = self.serving()
        if serving is None or not call.instances or isinstance(error, Refused):  # its words are ours
            return error
        try:
            with serving.champion.redaction.in_errors(call.instances):
                raise error
        except Exception as shown:  # noqa: BLE001 — the error is the answer
            if isinstance(shown, ModelFailed) and isinstance(error, ModelFailed):
                shown.version = error.version  # which is no secret
            return shown


def _large_integer(call: Call) -> Refused | None:
    """Return the refusal of a call with a whole number that no record can hold."""
    try:
        refuse_large_integers(call.instances or ())
    except Refused as refused:
        return refused
    return None


def _by_call(calls: Sequence[Call], predictions: Sequence[Prediction]) -> list[Answer]:
    following = iter(predictions)
    return [Answer(tuple(next(following) for _ in range(call.rows))) for call in calls]


def _named(serving: ServingVersions, version: str, model: str) -> tuple[LoadedModel, str]:
    found = serving.named(version)
    if found is None:
        raise Refused(Failure("not_found", f"version {version[:100]} of {model} does not answer now"))
    return found


def _served(
    rows: Sequence[Row], features: Sequence[FeatureRow], records: Sequence[PredictionRecord]
) -> list[ServedRow]:
    return [
        ServedRow(row.instance, row.keys, row.moment, values, row.model, record)
        for row, values, record in zip(rows, features, records, strict=True)
    ]
