"""One at a time: whoever compacts, prunes or erases from the prediction log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.errors import ServingError
from tidemill.files.locks import locked

__all__ = ["LogInUse", "maintaining"]


class LogInUse(ServingError):
    """Another process compacts, prunes or erases from this log right now."""


@contextmanager
def maintaining(root: Path, model: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Be the only one that moves, merges or deletes files of the log of a model; appending goes on.

    Raises:
        LogInUse: another process is, and still is after ``wait_seconds``.
    """

    def busy(holder: str) -> LogInUse:
        return LogInUse(
            f"another process compacts, prunes or erases from the log of {model} right now: {holder}",
            hint="it ends by itself: try again in a minute",
        )

    with locked(root / model / ".maintenance", busy=busy, wait_seconds=wait_seconds):
        yield
