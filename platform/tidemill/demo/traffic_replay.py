"""Replays history hour by hour: writes new features to the online store, and sends requests over HTTP."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from tidemill.errors import ServingError
from tidemill.features.feature_store import push
from tidemill.serving.http.client import Label, PredictionClient

if TYPE_CHECKING:
    import pandas as pd

    from tidemill.features.feast_objects import FeatureStore

__all__ = ["DayResult", "History", "Player"]

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_THE_REPLAY = ("at", "label", "label_at")


class History(Protocol):
    """The history that a project provides for its demo; ``project.replay`` in ``params.yaml`` names it."""

    def requests(self, start: datetime, end: datetime, per_day: int, seed: int) -> pl.DataFrame:
        """Return a sample of the requests in ``[start, end)``, sorted by ``at``.

        Columns: the fields of the application's request; ``at`` (moment of the prediction, aware, UTC);
        ``label`` (0, 1, or null when it never became known); ``label_at`` (when it became known).
        """

    def updates(self, start: datetime, end: datetime) -> Iterable[tuple[datetime, str, "pd.DataFrame"]]:
        """Return, sorted by moment, the rows of each feature view that became known in ``[start, end)``."""


@dataclass
class DayResult:
    """Traffic of one replayed day."""

    day: datetime
    ends: datetime
    sent: int = 0
    failed: int = 0
    labels: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, order=True)
class _DueLabel:
    at: datetime
    prediction_id: str
    label: int


class Player:
    """Replays one period of history against a running application."""

    def __init__(
        self, history: History, store: "FeatureStore", url: str, per_day: int, seed: int, clients: int
    ) -> None:
        self._history = history
        self._store = store
        self._client = PredictionClient(url, connections=clients)
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="replay")
        self._per_day = per_day
        self._seed = seed
        self._due: list[_DueLabel] = []

    def play(self, start: datetime, end: datetime) -> Iterator[DayResult]:
        """Replay ``[start, end)`` and yield each day's result at the end of the day.

        The replayed clock stands still between two days, so the caller may do other work then.
        """
        requests = self._history.requests(start, end, self._per_day, self._seed)
        by_hour: Mapping[datetime, list[dict[str, Any]]] = _by_hour(requests)
        updates = groupby(self._history.updates(start, end), key=lambda update: _next_hour(update[0]))
        pending = next(updates, None)
        day = start
        while day < end:
            following = min(day + timedelta(days=1), end)
            result = DayResult(day, following)
            hour = day
            while hour < following:
                if pending is not None and pending[0] <= hour:
                    for _, view, rows in pending[1]:
                        push(self._store, view, rows)
                    pending = next(updates, None)
                    continue
                self._ask(by_hour.get(hour, ()), result)
                hour += _HOUR
            self._send_labels(following, result)
            yield result
            day = following

    def flush(self) -> int:
        """Send the labels that arrive after the period, and return how many there were."""
        result = DayResult(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        self._send_labels(result.ends, result)
        return result.labels

    def close(self) -> None:
        """Close the connections and threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _ask(self, requests: Iterable[Mapping[str, Any]], result: DayResult) -> None:
        for request, answer in self._pool.map(self._one, requests):
            result.sent += 1
            if isinstance(answer, str):
                result.failed += 1
                result.errors.append(answer)
            elif request["label"] is not None:
                self._due.append(_DueLabel(request["label_at"], answer[0], int(request["label"])))

    def _one(self, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | tuple[str]]:
        instance = {name: value for name, value in request.items() if name not in _OF_THE_REPLAY}
        try:
            answer = self._client.predict([instance], at=request["at"])
        except ServingError as error:
            return request, str(error)
        return request, (answer.predictions[0].prediction_id,)

    def _send_labels(self, until: datetime, result: DayResult) -> None:
        self._due.sort()
        due = [label for label in self._due if label.at < until]
        self._due = self._due[len(due) :]
        for begin in range(0, len(due), 500):
            batch = [Label(d.prediction_id, d.label, d.at) for d in due[begin : begin + 500]]
            self._client.feedback(batch)
        result.labels += len(due)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _next_hour(moment: datetime) -> datetime:
    """Return the first full hour at or after ``moment``."""
    return -(-(moment - _EPOCH) // _HOUR) * _HOUR + _EPOCH


def _by_hour(requests: pl.DataFrame) -> Mapping[datetime, list[dict[str, Any]]]:
    hours: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for row in requests.iter_rows(named=True):
        hours[_hour(row["at"])].append(row)
    return hours
