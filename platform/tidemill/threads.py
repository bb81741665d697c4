"""Threads in the background, which end with their owner: each has a name, and its errors are in the log.

And the threads of libraries that compute: how many they may use.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

__all__ = ["BackgroundThread", "one_thread_to_compute"]

_PATIENCE = 30.0
_log = logging.getLogger(__name__)


@contextmanager
def one_thread_to_compute() -> Iterator[None]:
    """Let the libraries that are imported by now compute in one thread (OpenMP, BLAS).

    Small models are fitted no faster by several, and on a busy machine these wait for each other: what one
    does in 0.2 s took them minutes.
    """
    with _libraries(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries(_imported: int) -> Any:
    """Find the libraries that compute; it takes milliseconds, so only when more modules are imported."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


class BackgroundThread:
    """A thread that works until its owner stops it. It never keeps the process from ending.

    >>> beats = []
    >>> thread = BackgroundThread("beat", lambda: beats.append(1), every=0.001)
    >>> thread.start()
    >>> while len(beats) < 3:
    ...     pass
    >>> thread.stop()
    True
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        *,
        every: float | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        """Take what to do; `start` begins.

        Args:
            name: of the thread, as a debugger and the log show it.
            work: what it does. An error that it raises is logged.
            every: seconds before each call of ``work``, which an error does not end; default: one call.
            stopping: set when the thread must end; default: an event of its own.
        """
        self.stopping = stopping or threading.Event()
        """Set when the thread must end: work that takes long looks at it, or waits for it."""
        self._work = work
        self._every = every
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: it has begun before.
        """
        self._thread.start()

    def stop(self, seconds: float = _PATIENCE) -> bool:
        """Tell the thread to end, and return what `join` does."""
        self.stopping.set()
        return self.join(seconds)

    def join(self, seconds: float | None = _PATIENCE) -> bool:
        """Wait for the thread to end, and return whether it has; yes, if it never began.

        Called in the thread itself it returns False at once.
        """
        if self._thread is threading.current_thread():
            return False
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self.is_alive:
            _log.warning("thread %s has not ended within %s s", self._thread.name, seconds)
        return not self.is_alive

    def _run(self) -> None:
        while self._every is None or not self.stopping.wait(self._every):
            try:
                self._work()
            except Exception:  # noqa: BLE001
                _log.exception("thread %s failed", self._thread.name)
            if self._every is None:
                return
