"""One at a time: whoever compacts, prunes or erases from the prediction log."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.errors import ServingError

__all__ = ["LogInUse", "maintaining"]


class LogInUse(ServingError):
    """Another process compacts, prunes or erases from this log right now."""


@contextmanager
def maintaining(root: Path, model: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Be the only one that moves, merges or deletes files of the log of a model; appending goes on.

    Raises:
        LogInUse: another process is, and still is after ``wait_seconds``.
    """
    folder = root / model
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".maintenance", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    end = time.monotonic() + wait_seconds
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= end:
                    raise LogInUse(
                        f"another process compacts, prunes or erases from the log of {model} right now",
                        hint="it ends by itself: try again in a minute",
                    ) from error
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
