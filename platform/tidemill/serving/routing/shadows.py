"""Let shadow versions score copies of the traffic after the answer, and only log the results.

Copies wait in a queue that is bounded; one thread takes many at once, has each shadow score them in one
call, and logs the results with the role ``shadow``. What does not fit into the queue, or comes while the
replica is busy, is dropped and counted: a shadow costs a request only the copy.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from tidemill.features.request_features import FeatureRow
from tidemill.ids import new_id
from tidemill.prediction_log.log_records import SHADOW, PredictionRecord
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.traffic_split import ServingVersions
from tidemill.threads import BackgroundThread

__all__ = ["ServedRow", "Shadows"]

_log = logging.getLogger(__name__)

_PAUSE = 0.005
"""Seconds between two batches: requests come first."""


class ServedRow(NamedTuple):
    """One row that was answered: what a shadow needs to answer it too."""

    instance: BaseModel | None
    keys: Mapping[str, object] | None
    """As `Application.feature_row` gave them; None where features were given."""
    moment: datetime
    features: FeatureRow
    model: LoadedModel
    record: PredictionRecord


class ShadowLog(Protocol):
    """The log of shadow predictions."""

    def append(self, records: Sequence[PredictionRecord]) -> Any:
        """Write them."""


class Shadows:
    """Takes copies of answered rows, and has the shadows answer them in a thread of its own."""

    def __init__(
        self,
        log: ShadowLog,
        decide: Callable[[Any, Any], Mapping[str, Any]],
        counters: VersionCounters,
        *,
        busy: Callable[[], bool] = lambda: False,
        max_waiting: int = 2048,
        max_rows: int = 128,
    ) -> None:
        """Take the parts; the thread begins with the first copy.

        Args:
            log: where the records go.
            decide: the business logic after the model.
            counters: counts by version.
            busy: says whether there is so much to do that copies must not be taken.
            max_waiting: copies that may wait.
            max_rows: copies that are scored in one call.
        """
        self._log = log
        self._decide = decide
        self._counters = counters
        self._busy = busy
        self._max_waiting = max_waiting
        self._max_rows = max_rows
        self._waiting: deque[tuple[LoadedModel, ServedRow]] = deque()
        self._there = threading.Event()
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._thread: BackgroundThread | None = None

    def stop(self) -> None:
        """End, after what waits is worked off."""
        with self._starting:
            self._stopping.set()
            self._there.set()
            thread = self._thread
        if thread is not None:
            thread.join()

    def offer(self, serving: ServingVersions, rows: Sequence[ServedRow]) -> None:
        """Take copies for the shadows of this moment; return at once."""
        busy = self._busy()
        for row in rows:
            for model in self._wanted(serving, row):
                if busy or len(self._waiting) >= self._max_waiting:
                    self._counters.dropped(SHADOW, model.version, 1)
                else:
                    self._waiting.append((model, row))
        if self._thread is None:
            self._start()
        self._there.set()

    def _wanted(self, serving: ServingVersions, row: ServedRow) -> Sequence[LoadedModel]:
        """Return the shadows that answer a row."""
        try:
            key = serving.key(row.instance, row.keys) if row.keys is not None else row.record.prediction_id
        except Exception as error:  # noqa: BLE001 — the project's own code; the row is answered, and logged
            for model in serving.shadows:
                self._fail(model, 1, error)
            return ()
        return serving.shadowed(key)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._stopping.is_set():
                self._thread = BackgroundThread("shadows", self._run, stopping=self._stopping)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._there.wait()
            self._there.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_rows))]
                for model in {id(model): model for model, _ in batch}.values():
                    self._answer(model, [row for other, row in batch if other is model])
                if not self._stopping.is_set():
                    time.sleep(_PAUSE)
            if self._stopping.is_set():
                return

    def _answer(self, model: LoadedModel, rows: Sequence[ServedRow]) -> None:
        began = time.perf_counter()
        try:
            answers = _answers(model, rows)
            spent = time.perf_counter() - began
            self._log.append(
                [self._record(model, row, answer, spent) for row, answer in zip(rows, answers, strict=True)]
            )
        except Exception as error:  # noqa: BLE001 — a model can fail in any way; no request waits for this one
            self._fail(model, len(rows), error)
            return
        self._counters.scored(SHADOW, model.version, len(rows), spent)

    def _fail(self, model: LoadedModel, rows: int, error: Exception) -> None:
        _log.warning("shadow %s could not answer %d copies", model.version, rows, exc_info=error)
        self._counters.failed(SHADOW, model.version, rows, error)

    def _record(self, model: LoadedModel, row: ServedRow, answer: Any, spent: float) -> PredictionRecord:
        task = model.task
        decision = {} if row.instance is None else dict(self._decide(row.instance, task.decided_on(answer)))
        return replace(
            row.record,
            prediction_id=new_id("pred"),
            version=model.version,
            score=task.score(answer),
            answer=model.redaction.answer(task.logged(answer)),
            decision=model.redaction.values(decision),
            milliseconds=spent * 1000,
            role=SHADOW,
            shadow_of=row.record.prediction_id,
        )


def _answers(model: LoadedModel, rows: Sequence[ServedRow]) -> list[Any]:
    # The features are those that the answer was made from: a shadow is compared on the very same ones.
    answers = model.answers([row.features for row in rows])
    if not model.gives_all(answers, len(rows)):
        raise ValueError(f"version {model.version} gave {answers[:3]} … for {len(rows)} rows")
    return answers
