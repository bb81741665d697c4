"""Watches the alias of a model and swaps the version that answers, without a request noticing.

A version is loaded and tried out beside the one that answers; then one reference is replaced. A request takes
the reference once, so those under way end with the version they began with. What does not load, or does not
answer a trial row, is never put in: the old version goes on, and the records say why.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from tidemill.clock import Clock
from tidemill.errors import TidemillError
from tidemill.serving.predictor import LoadedModel

__all__ = ["Status", "Watcher"]

_HEARTBEAT = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What a replica answers with, and what it should."""

    version: str | None = None
    wanted: str | None = None
    """The version that the alias names."""
    error: str | None = None
    """Why ``wanted`` is not ``version``, or why the registry cannot be asked."""
    loaded_at: datetime | None = None


class Watcher:
    """Polls the alias in a thread of its own."""

    def __init__(
        self,
        read_alias: Callable[[], str | None],
        load: Callable[[str], LoadedModel],
        report: Callable[[Status], None],
        clock: Clock,
        poll_seconds: float,
    ) -> None:
        """Take the parts; nothing runs yet.

        Args:
            read_alias: says which version should answer; none if none.
            load: brings a version up and tries it out; called again and again for one that fails.
            report: is told of every change, and every few seconds that the replica lives.
            clock: wall-clock time.
            poll_seconds: between two looks at the alias.
        """
        self._read_alias = read_alias
        self._load = load
        self._report = report
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._current: LoadedModel | None = None
        self._status = Status()
        self._reported_at: datetime | None = None
        self._failures = 0
        self._skip = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    @property
    def status(self) -> Status:
        """What this replica answers with, and what it should."""
        return self._status

    def current(self) -> LoadedModel | None:
        """Return the model that answers; none before the first."""
        return self._current

    def start(self) -> None:
        """Look once, so that a champion there is serves at once, then go on looking in the thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Look at the alias once, and load what it names if that does not answer already."""
        try:
            wanted = self._read_alias()
        except Exception as error:  # noqa: BLE001 — whatever ails the registry, serving goes on
            self._tell(replace(self._status, error=f"the registry cannot be asked: {_say(error)}"))
            return
        # An alias that is gone takes no model away: serving ends when the stack ends, not by an accident.
        if wanted is None or wanted == self._status.version:
            self._failures = 0
            self._tell(replace(self._status, wanted=wanted, error=None))
        elif wanted != self._status.wanted or self._due():
            self._swap(wanted)
        else:
            self._tell(self._status)

    def _due(self) -> bool:
        # A version that fails is tried again ever more rarely: 1, 2, 4 … 64 polls after the last time.
        self._skip -= 1
        return self._skip < 0

    def _swap(self, wanted: str) -> None:
        if wanted != self._status.wanted:
            self._failures = 0
        self._tell(replace(self._status, wanted=wanted, error=None))
        try:
            model = self._load(wanted)
        except Exception as error:  # noqa: BLE001 — a model can fail in any way; the old one stays
            self._failures += 1
            self._skip = min(2**self._failures, 64)
            _log.exception("version %s cannot serve; %s goes on", wanted, self._status.version or "none")
            self._tell(replace(self._status, error=_say(error)))
            return
        self._failures = 0
        self._current = model
        self._tell(Status(version=model.version, wanted=wanted, loaded_at=model.loaded_at))
        _log.info("version %s serves", model.version)

    def _tell(self, status: Status) -> None:
        now = self._clock.now()
        fresh = self._reported_at is not None and (now - self._reported_at).total_seconds() < _HEARTBEAT
        if status == self._status and fresh:
            return
        self._status = status
        try:
            self._report(status)
            self._reported_at = now
        except Exception:  # noqa: BLE001 — the records being away must not end serving
            _log.warning("the replica's state could not be recorded", exc_info=True)

    def _run(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self.look()


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, TidemillError) else f"{type(error).__name__}: {error}"
