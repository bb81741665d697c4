"""Replays history hour by hour: writes new features to the online store, and sends requests over HTTP."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from tidemill.errors import ServingError
from tidemill.serving.http.client import Label, PredictionClient

if TYPE_CHECKING:
    import pandas as pd

    from tidemill.features.feast_objects import FeatureStore

__all__ = ["History", "PlayedSpan", "Player", "instances"]

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_THE_REPLAY = ("at", "label", "label_at")
_INSTANCE = "instance"


class History(Protocol):
    """The history that a project provides for its replays; ``project.replay`` in ``params.yaml`` names it."""

    def requests(self, start: datetime, end: datetime, per_day: int, seed: int) -> pl.DataFrame:
        """Return a sample of the requests in ``[start, end)``, sorted by ``at``.

        Columns: the fields of the application's request, or all of them in one struct ``instance``; ``at``
        (moment of the prediction, aware, UTC); ``label`` (as clients send it, null when it never became
        known); ``label_at`` (when it became known).
        """

    def updates(self, start: datetime, end: datetime) -> Iterable[tuple[datetime, str, "pd.DataFrame"]]:
        """Return, sorted by moment, the rows of each feature view that became known in ``[start, end)``."""


def instances(requests: pl.DataFrame) -> list[dict[str, Any]]:
    """Return what is sent for each row of `History.requests`."""
    return [_instance(row) for row in requests.iter_rows(named=True)]


@dataclass
class PlayedSpan:
    """Traffic between two moments at which monitors and policies get their turn: usually a day."""

    begins: datetime
    ends: datetime
    sent: int = 0
    failed: int = 0
    labels: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _DueLabel:
    at: datetime
    prediction_id: str
    label: Any


class Player:
    """Replays one period of history against a running application."""

    def __init__(
        self, history: History, store: "FeatureStore | None", url: str, per_day: int, seed: int, clients: int
    ) -> None:
        """Take the parts; nothing is sent yet.

        Args:
            history: what is played.
            store: the online store that new feature values go to; None if the project has none.
            url: of the prediction API.
            per_day: most requests of a day.
            seed: of the sample.
            clients: requests at once.
        """
        self._history = history
        self._store = store
        self._client = PredictionClient(url, connections=clients)
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="replay")
        self._per_day = per_day
        self._seed = seed
        self._due: list[_DueLabel] = []

    def play(
        self, start: datetime, end: datetime, step: timedelta = timedelta(days=1)
    ) -> Iterator[PlayedSpan]:
        """Replay ``[start, end)`` and yield the result of each ``step`` (whole hours) at its end.

        The replayed clock stands still between two steps, so the caller may do other work then.
        """
        requests = self._history.requests(start, end, self._per_day, self._seed)
        by_hour = _by_hour(requests, start)
        updates = groupby(self._history.updates(start, end), key=lambda update: _next_hour(update[0]))
        pending = next(updates, None)
        begins = start
        while begins < end:
            result = PlayedSpan(begins, min(begins + step, end))
            hour = begins
            while hour < result.ends:
                if pending is not None and pending[0] <= hour:
                    self._push(pending[1])
                    pending = next(updates, None)
                    continue
                self._ask(by_hour.get(hour, ()), result)
                hour += _HOUR
            self._send_labels(result.ends, result)
            yield result
            begins = result.ends

    def flush(self) -> int:
        """Send the labels that arrive after the period, and return how many there were."""
        result = PlayedSpan(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        self._send_labels(result.ends, result)
        return result.labels

    def close(self) -> None:
        """Close the connections and threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()

    def _push(self, updates: Iterable[tuple[datetime, str, "pd.DataFrame"]]) -> None:
        if self._store is None:
            return
        from tidemill.features.feature_store import push  # importing Feast takes seconds

        for _, view, rows in updates:
            push(self._store, view, rows)

    def _ask(self, requests: Iterable[Mapping[str, Any]], result: PlayedSpan) -> None:
        for request, answer in self._pool.map(self._one, requests):
            result.sent += 1
            if isinstance(answer, str):
                result.failed += 1
                result.errors.append(answer)
            elif request["label"] is not None:
                self._due.append(_DueLabel(request["label_at"], answer[0], request["label"]))

    def _one(self, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | tuple[str]]:
        try:
            answer = self._client.predict([_instance(request)], at=request["at"])
        except ServingError as error:
            return request, str(error)
        return request, (answer.predictions[0].prediction_id,)

    def _send_labels(self, until: datetime, result: PlayedSpan) -> None:
        self._due.sort(key=attrgetter("at", "prediction_id"))
        due = [label for label in self._due if label.at < until]
        self._due = self._due[len(due) :]
        for begin in range(0, len(due), 500):
            batch = [Label(d.prediction_id, d.label, d.at) for d in due[begin : begin + 500]]
            self._client.feedback(batch)
        result.labels += len(due)


def _instance(request: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(whole := request.get(_INSTANCE), dict):
        return whole
    return {name: value for name, value in request.items() if name not in _OF_THE_REPLAY}


def _next_hour(moment: datetime) -> datetime:
    """Return the first full hour at or after ``moment``."""
    return -(-(moment - _EPOCH) // _HOUR) * _HOUR + _EPOCH


def _by_hour(requests: pl.DataFrame, start: datetime) -> Mapping[datetime, list[dict[str, Any]]]:
    """Return the requests by the hour after ``start`` in which they are sent."""
    hours: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for row in requests.iter_rows(named=True):
        hours[start + (row["at"] - start) // _HOUR * _HOUR].append(row)
    return hours
