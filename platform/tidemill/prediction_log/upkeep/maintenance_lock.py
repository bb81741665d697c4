"""A lock that lets only one process at a time compact, prune or erase from the prediction log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.errors import ServingError
from tidemill.files.locks import locked

__all__ = ["LogInUse", "hold_maintenance_lock"]


class LogInUse(ServingError):
    """Another process compacts, prunes or erases from this log right now."""


@contextmanager
def hold_maintenance_lock(root: Path, model: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the exclusive right to move, merge or delete files of a model's log; appending goes on.

    Raises:
        LogInUse: another process still holds it after ``wait_seconds``.
    """

    def busy(holder: str) -> LogInUse:
        return LogInUse(
            f"another process compacts, prunes or erases from the log of {model} right now: {holder}",
            hint="it ends by itself: try again in a minute",
        )

    with locked(root / model / ".maintenance", busy=busy, wait_seconds=wait_seconds):
        yield
