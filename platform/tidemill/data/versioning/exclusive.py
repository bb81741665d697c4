"""Lets one process at a time make versions, after finishing or undoing the work of a killed one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.data.repository.dvc_command import scratch_folder
from tidemill.data.versioning import pending_addition, pending_reproduction
from tidemill.errors import DataError
from tidemill.files.locks import locked

__all__ = ["PATIENCE", "exclusive_access"]

PATIENCE = 600.0
"""Seconds to wait for another process that works in the same repository."""


@contextmanager
def exclusive_access(root: Path, tell: Callable[[str], None], patience: float) -> Iterator[None]:
    """Wait until no other process makes a version in ``root``, then undo or finish a killed one's work.

    DVC releases its own lock while a stage runs, so two runs would change each other's files.

    Raises:
        DataError: another process took longer than ``patience`` seconds, or what a killed one began can
            neither be finished nor undone.
        TidemillError: the project's folder cannot be written to.
    """
    with locked(
        scratch_folder(root) / "tidemill.lock",
        busy=lambda holder: DataError(
            f"{root}: {holder} has been making a data version for more than {patience:.0f} s",
            hint="wait for it, or end it, and run again",
        ),
        wait_seconds=patience,
        on_wait=lambda holder: tell(
            f"{holder} is making a data version in {root}: waiting up to {patience:.0f} s for it"
        ),
    ):
        _recover(root, tell, patience)
        yield


def _recover(root: Path, tell: Callable[[str], None], patience: float) -> None:
    """Finish or undo the work of a killed process."""
    try:
        if pending_reproduction.undo(root):
            tell("the run before this one was killed: its changes of params.yaml and dvc.lock are undone")
        pending_addition.finish_or_undo(root, tell, patience)
        pending_reproduction.forget_dead_processes(root)
    except OSError as error:
        raise DataError(
            f"{root}: a change that a killed process began cannot be undone: {error}",
            hint="make that file writable and run again; or keep the files as they are: remove "
            f"{scratch_folder(root)}/tidemill-*.json",
        ) from error
