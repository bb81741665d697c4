"""Reads what may take long (MLflow, DVC, a whole log) in a thread of its own, for a bounded time.

A page waits a few seconds. If the reading takes longer, it goes on, and who loads the page again gets what it
has found by then.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, cast

from tidemill.errors import NotAnswering
from tidemill.threads import BackgroundThread

__all__ = ["READINGS", "Readings"]

Value = TypeVar("Value")
_SECONDS = 8.0
_RUNNING = 8


class _Reading(Generic[Value]):
    """One reading, in its thread."""

    def __init__(self, what: str, work: Callable[[], Value]) -> None:
        self._work = work
        self.value: Value | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        BackgroundThread(f"read {what}", self._run).start()

    def _run(self) -> None:
        try:
            self.value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error
        finally:
            self.done.set()


class Readings:
    """The readings that are under way, and the last results of those that are kept.

    >>> readings = Readings()
    >>> readings.read("the sum", ("sum", 2), lambda: 1 + 1)
    2
    """

    def __init__(self, kept: int = 64) -> None:
        """Begin with none.

        Args:
            kept: how many results are kept at most, the ones last used.
        """
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Reading[Any]] = {}
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._most = kept

    def read(
        self,
        what: str,
        key: Hashable,
        work: Callable[[], Value],
        *,
        seconds: float = _SECONDS,
        keep: bool = False,
    ) -> Value:
        """Return what ``work`` returns.

        Args:
            what: the thing that is read, in words.
            key: identifies the reading: whoever asks for the same one waits for the same thread.
            work: reads it; it must hold nothing of the request.
            seconds: how long to wait.
            keep: whether the result is kept for the next who ask: of what never changes.

        Raises:
            NotAnswering: it takes longer, or too many others are being read.
        """
        reading = self._begun(what, key, work)
        if not isinstance(reading, _Reading):
            return reading
        if not reading.done.wait(seconds):
            raise NotAnswering(
                f"reading {what} takes longer than {seconds:.0f} s",
                hint="it goes on meanwhile: load this page again in a minute",
            )
        with self._lock:
            self._running.pop(key, None)
            if keep and reading.error is None:
                self._kept[key] = reading.value
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        if reading.error is not None:
            raise reading.error
        return reading.value  # type: ignore[return-value]

    def _begun(self, what: str, key: Hashable, work: Callable[[], Value]) -> "_Reading[Value] | Value":
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast("Value", self._kept[key])
            if key not in self._running:
                stale = [known for known, one in self._running.items() if one.done.is_set()]
                if len(self._running) >= _RUNNING and stale:
                    del self._running[stale[0]]  # nobody came back for it
                if len(self._running) >= _RUNNING:
                    raise NotAnswering(
                        f"{what} cannot be read now: {_RUNNING} slow readings are under way",
                        hint="load this page again in a minute",
                    )
                self._running[key] = _Reading(what, work)
            return self._running[key]


READINGS = Readings()
"""Those of this process."""
