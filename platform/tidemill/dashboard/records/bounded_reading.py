"""Reads what may take long (MLflow, DVC, a whole log) beside the request, in a thread of its own.

A page waits an eye's blink, a program some seconds. Where the reading takes longer, it goes on, and the
visitor is told so (`tidemill.errors.BeingComputed`) with a ticket; when it has ended, who listens hears of
the ticket, and the page asks again.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast
from uuid import uuid4

from tidemill.errors import BeingComputed, NotAnswering
from tidemill.threads import BackgroundThread

__all__ = ["FOR_GOOD", "PAGE_SECONDS", "PROGRAM_SECONDS", "READINGS", "Readings", "patience"]

FOR_GOOD: Final = math.inf
"""How long the reading of what never changes is kept."""
PAGE_SECONDS = 0.12
"""How long a page waits before it says that it will show a reading later."""
PROGRAM_SECONDS = 8.0
_LEAST = 0.01
_TOLD_SECONDS = 10.0
_AT_ONCE = 8
_WAITING = 64
_WAITING_SECONDS = 60.0
_until: ContextVar[float | None] = ContextVar("until", default=None)

Value = TypeVar("Value")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let this request wait for so many seconds, for all of its readings together."""
    before = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(before)


def _left() -> float:
    """Return how long this request still waits, in seconds; where nobody said, as long as a program."""
    until = _until.get()
    return PROGRAM_SECONDS if until is None else max(_LEAST, until - time.monotonic())


class _Reading(Generic[Value]):
    """One reading."""

    def __init__(self, what: str, work: Callable[[], Value], keep: float) -> None:
        self.what = what
        self.ticket = uuid4().hex
        self.value: Value | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.asked_at, self.begun_at, self.ended_at = time.monotonic(), math.nan, math.nan
        self.told = False
        """Whether somebody was told to come back for it."""
        self._work = work
        self._keep = keep

    def run(self) -> None:
        self.begun_at = time.monotonic()
        try:
            self.value = self._work()
        except BaseException as error:  # noqa: BLE001 - raised where it is asked for
            self.error = error
        finally:
            self.ended_at = time.monotonic()
            self.done.set()

    @property
    def is_good(self) -> bool:
        """Whether who asks now may have it: it goes on, is kept, or was promised a moment ago."""
        if not self.done.is_set():
            return True
        kept = self._keep if self.error is None else 0.0
        return time.monotonic() - self.ended_at < max(kept, _TOLD_SECONDS if self.told else 0.0)


class Readings:
    """The readings that are under way, those that wait for a place, and the last ones that are kept.

    >>> readings = Readings()
    >>> readings.read("the sum", ("sum", 2), lambda: 1 + 1)
    2
    """

    def __init__(self, kept: int = 64) -> None:
        """Begin with none.

        Args:
            kept: how many are kept at most, the ones last used.
        """
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, _Reading[Any]] = OrderedDict()
        self._waiting: deque[_Reading[Any]] = deque()
        self._running = 0
        self._most = kept
        self._hearers: set[Callable[[str], None]] = set()

    def read(self, what: str, key: Hashable, work: Callable[[], Value], *, keep: float = 0.0) -> Value:
        """Return what ``work`` returns.

        Args:
            what: the thing that is read, in words.
            key: identifies the reading: whoever asks for the same one waits for the same thread.
            work: reads it; it must hold nothing of the request.
            keep: for how many seconds the next who ask get the same result. What somebody was told to come
                back for is kept for 10 s, an error too.

        Raises:
            BeingComputed: it takes longer than this request waits.
            NotAnswering: it could not begin: too many others are under way.
        """
        reading = self._reading(what, key, work, keep)
        if not reading.done.wait(_left()):
            reading.told = True
            self._require_progress(reading)
            raise BeingComputed(
                f"{what} is being read, since {time.monotonic() - reading.asked_at:.1f} s",
                hint="this page shows it when it is there; programs ask again",
                ticket=reading.ticket,
            )
        if reading.error is not None:
            raise reading.error
        return cast("Value", reading.value)

    @contextmanager
    def heard(self, hear: Callable[[str], None]) -> Iterator[list[str]]:
        """Call ``hear`` with the ticket of each reading that ends; give those that ended a moment ago."""
        with self._lock:
            self._hearers.add(hear)
            ended = [one.ticket for one in self._known.values() if one.told and one.done.is_set()]
        try:
            yield ended[-_AT_ONCE:]
        finally:
            with self._lock:
                self._hearers.discard(hear)

    def _reading(self, what: str, key: Hashable, work: Callable[[], Value], keep: float) -> "_Reading[Value]":
        with self._lock:
            known = self._known.get(key)
            if known is None or not known.is_good:
                known = _Reading(what, work, keep)
                self._begin(known)
                self._known[key] = known
            self._known.move_to_end(key)  # first: one that has ended already is not among the oldest
            self._forget()
            return known

    def _begin(self, reading: _Reading[Any]) -> None:
        if self._running < _AT_ONCE:
            self._running += 1
            BackgroundThread(f"read {reading.what}", partial(self._work, reading)).start()
        elif len(self._waiting) < _WAITING:
            self._waiting.append(reading)
        else:
            raise self._crowded(reading)

    def _work(self, reading: _Reading[Any]) -> None:
        """Run a reading, then those that wait for a place."""
        following: _Reading[Any] | None = reading
        while following is not None:
            following.run()
            with self._lock:
                hearers = tuple(self._hearers) if following.told else ()
                ticket = following.ticket
                following = self._waiting.popleft() if self._waiting else None
                self._running -= following is None
            for hear in hearers:
                hear(ticket)

    def _require_progress(self, reading: _Reading[Any]) -> None:
        waited = time.monotonic() - reading.asked_at
        if math.isnan(reading.begun_at) and waited > _WAITING_SECONDS:
            raise self._crowded(reading)

    def _crowded(self, reading: _Reading[Any]) -> NotAnswering:
        with_place = [one.what for one in self._known.values() if not math.isnan(one.begun_at)]
        slow = ", ".join(dict.fromkeys(with_place[:3]))
        return NotAnswering(
            f"{reading.what} cannot be read now: {_AT_ONCE} slow readings are under way, among them {slow}",
            hint="load this page again in a minute; the settings show which store does not answer",
        )

    def _forget(self) -> None:
        ended = [key for key, one in self._known.items() if one.done.is_set()]
        for key in ended[: max(0, len(ended) - self._most)]:
            del self._known[key]


READINGS = Readings()
"""Those of this process."""
