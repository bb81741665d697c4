"""Sends OpenLineage events while a turn runs. A failure of the collector never fails the turn."""

import logging
import queue
import threading
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tidemill.lineage.openlineage.collector_address import configured
from tidemill.lineage.openlineage.delivery_statistics import count_events, one_line
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.lineage.sources.turn_details import TurnDetails, read_turn
from tidemill.project import Project
from tidemill.state.tables import Turn
from tidemill.threads import BackgroundThread

__all__ = ["TurnReport"]

_log = logging.getLogger(__name__)


class TurnReport:
    """Context manager that sends the events of one turn, from its start to its end.

    Without a configured address it does nothing. Events are built when something happens and sent by their
    own thread; at the end of the turn that thread gets ``openlineage_timeout`` seconds to finish. Failed
    events are logged once and counted in ``.tidemill/openlineage.json``; send them again with
    ``tidemill lineage TURN --send``.
    """

    def __init__(self, project: Project, turn: Turn) -> None:
        self._project = project
        self._turn = turn
        self._step: str | None = None
        self._worker = _Worker(project) if configured(project.settings) else None

    def __enter__(self) -> "TurnReport":
        self._tell("turn", "START")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn.status != "running":  # otherwise the process that resumes the turn reports how it ended
            failed = self._turn.status in ("failed", "cancelled")
            ended = self._turn.status == "cancelled" or self._turn.error == "interrupted"
            phase = "COMPLETE" if not failed else "ABORT" if ended else "FAIL"
            if failed and self._step is not None:
                self._tell(self._step, phase)
            self._tell("turn", phase)
        if self._worker is not None:
            self._worker.finish()

    def begin(self, step: str) -> None:
        """Send the start event of a step."""
        self._step = step
        self._tell(step, "START")

    def complete(self, step: str) -> None:
        """Send the complete event of a step, with its results from the turn's record."""
        self._step = None
        self._tell(step, "COMPLETE")

    def _tell(self, what: str, phase: Any) -> None:
        if self._worker is None:
            return
        try:
            from tidemill.lineage.openlineage.events import (  # import the client only if events are sent
                step_events,
                turn_events,
            )

            facts, now = self._facts(), datetime.now(UTC)
            events = (
                turn_events(facts, phase, now) if what == "turn" else step_events(facts, what, phase, now)
            )
            self._worker.send(events)
        except Exception as error:  # noqa: BLE001 - a record that cannot be read must not end the turn either
            self._worker.lose(1, error)

    def _facts(self) -> TurnDetails:
        with closing(ChainRecords(self._project)) as records:
            return read_turn(records, self._turn)


class _Worker:
    """Sends events in order, in a background thread."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._queue: queue.Queue[Any] = queue.Queue()
        self._lock = threading.Lock()
        self._given = self._sent = self._lost = 0
        self._error: BaseException | None = None
        self._thread = BackgroundThread("openlineage", self._run)
        self._thread.start()

    def send(self, events: Iterable[Any]) -> None:
        for event in events:
            self._given += 1
            self._queue.put(event)

    def lose(self, number: int, error: BaseException) -> None:
        with self._lock:
            first, self._error = self._error is None, error
            self._lost += number
        if first:
            _log.warning("OpenLineage events could not be sent; the turn goes on: %s", one_line(error))

    def finish(self) -> None:
        patience = self._project.settings.openlineage_timeout
        self._queue.put(None)
        self._thread.join(patience)
        with self._lock:
            sent, lost = self._sent, self._lost
        if self._thread.is_alive:
            lost = self._given - sent
            self.lose(0, TimeoutError(f"{lost} events were not accepted within {patience:g} s"))
        count_events(self._project, sent, lost, self._error)

    def _run(self) -> None:
        client = None
        while (event := self._queue.get()) is not None:
            try:
                if client is None:
                    from tidemill.lineage.openlineage.emission import open_client

                    client = open_client(self._project.settings, self._project.root)
                client.emit(event)
            except Exception as error:  # noqa: BLE001 - whatever a transport raises
                self.lose(1, error)
            else:
                with self._lock:
                    self._sent += 1
        if client is not None:
            client.close(0)
