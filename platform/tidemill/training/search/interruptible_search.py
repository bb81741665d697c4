"""Lets Ctrl-C and `tidemill runs stop` end a search cleanly, and keeps Ray Tune's tables off the console."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tidemill.errors import TrainingError
from tidemill.training.search.trial_records import SearchInterrupted, TrialLog

__all__ = ["interruptible", "quiet"]

_QUIET = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


@contextmanager
def interruptible(log: TrialLog) -> Iterator[None]:
    """Let the first Ctrl-C end the search cleanly, and raise KeyboardInterrupt afterwards.

    Ray Tune stops its workers when a callback raises an error, but not on a KeyboardInterrupt: the workers
    would keep their CPUs, and a later search in the same process would wait for ever.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        with suppress(SearchInterrupted):
            yield
        _raise_if_stopped(log)
        return

    def stop(number: int, frame: object) -> None:
        log.interrupted = True
        signal.signal(signal.SIGINT, before)

    others = signal.getsignal(signal.SIGUSR1)  # Ray Tune replaces the handler and never restores it
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except SearchInterrupted:
        pass  # raised again below, once Ray's handlers are gone
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGUSR1, others)
    _raise_if_stopped(log)
    if log.interrupted:
        signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt


def _raise_if_stopped(log: TrialLog) -> None:
    if log.asked == "stop":
        raise TrainingError(
            "the search was stopped by `tidemill runs stop`",
            hint="`tidemill run --resume` goes on with it",
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray Tune's tables and warnings off the console: trials are recorded, and we report failures."""
    before = {key: os.environ.get(key) for key in _QUIET}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_QUIET)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
