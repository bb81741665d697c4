"""A circuit breaker around the online store, so that a store that is down does not delay predictions.

After one read has failed or taken too long, no request waits for the store. From then on requests are
refused at once, and a thread tries the store, less and less often, until it answers.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from tidemill.threads import BackgroundThread

if TYPE_CHECKING:  # importing Feast takes seconds
    from feast import FeatureStore

    from tidemill.features.lookups import Found, Read

__all__ = ["FALLBACK", "CircuitBreaker", "GuardedRead"]

FALLBACK = "fallback:features"
"""The flag of a row whose features could not be read: they are declared defaults, or none."""

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_log = logging.getLogger(__name__)

Keys = Sequence[Sequence[bytes]]
GuardedRead: TypeAlias = "Callable[[Keys], Sequence[Found] | None]"
"""As `tidemill.features.lookups.Read`; None while the store is down."""


class CircuitBreaker:
    """Circuit breaker for the reads of one feature store. Threads may share it."""

    def __init__(self, wait_seconds: float) -> None:
        """Set how long a read may wait for the store, in seconds."""
        self.problem: str | None = None
        """Why the store is down; None while it answers."""
        self.count = 0
        """How often it went down."""
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def guard(self, store: "FeatureStore", read: "Read") -> GuardedRead:
        """Return a read that never raises, and that waits up to the limit only once in an outage.

        Args:
            store: gets a limit on the time of its reads, if it is one of Tidemill's.
            read: how its features are read.
        """
        online = store.provider.online_store
        if hasattr(online, "limit_waiting"):
            online.limit_waiting(self._wait_seconds)
        good: Keys = ()

        def guarded(keys: Keys) -> "Sequence[Found] | None":
            nonlocal good
            if self.problem is not None:
                return None
            try:
                found = read(keys)
            except Exception as error:  # noqa: BLE001 — requests are answered whatever error the store raises
                # Probe with keys that were read before: these fail only if the store is still down.
                self._begin(error, lambda: read(_some(good or keys)))
                return None
            good = keys
            return found

        return guarded

    def stop(self) -> None:
        """End the thread that probes the store, if there is one."""
        self._stop.set()

    def _begin(self, error: Exception, probe: Callable[[], object]) -> None:
        with self._lock:
            if self.problem is not None:
                return
            self.problem = f"the online store cannot be read: {error}"
            self.count += 1
        _log.error("%s; predictions use declared defaults until it answers", self.problem)
        BackgroundThread("online-store", partial(self._ask, probe), stopping=self._stop).start()

    def _ask(self, probe: Callable[[], object]) -> None:
        wait = _FIRST_WAIT
        while not self._stop.wait(wait):
            try:
                probe()
            except Exception as error:  # noqa: BLE001 — as long as it fails in any way, it is away
                self.problem = f"the online store cannot be read: {error}"
                wait = min(2 * wait, _LONGEST_WAIT)
            else:
                self.problem = None
                _log.info("the online store answers again")
                return


def _some(keys: Keys) -> Keys:
    return [of_view[:1] for of_view in keys]
