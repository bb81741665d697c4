"""One maker of versions at a time, and what a killed one left half done is put right first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tidemill.data.repository.dvc_command import scratch_folder
from tidemill.data.versioning import pending_addition, pending_reproduction
from tidemill.errors import DataError

__all__ = ["PATIENCE", "alone"]

PATIENCE = 600.0
"""Seconds to wait for another process that works in the same repository."""


@contextmanager
def alone(root: Path, tell: Callable[[str], None], patience: float) -> Iterator[None]:
    """Wait until no other process makes a version in ``root``, then undo or finish what a killed one began.

    DVC's own lock is open while a stage runs; two runs would change files under each other's feet.

    Raises:
        DataError: another process took longer than ``patience`` seconds.
    """
    scratch_folder(root).mkdir(parents=True, exist_ok=True)
    lock = FileLock(scratch_folder(root) / "tidemill.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(f"another process is making a data version in {root}: waiting up to {patience:.0f} s for it")
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise DataError(
                f"{root}: another process has been making a data version for more than {patience:.0f} s",
                hint="wait for it, or end it, and run again",
            ) from error
    try:
        if pending_reproduction.undo(root):
            tell("the run before this one was killed: its changes of params.yaml and dvc.lock are undone")
        pending_addition.settle(root, tell, patience)
        pending_reproduction.forget_dead_processes(root)
        yield
    finally:
        lock.release()
