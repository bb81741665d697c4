"""Says by which state of MLflow's database something was read, so that what was read can be kept."""

from pathlib import Path

from tidemill.dashboard.records.bounded_reading import FOR_GOOD
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.project import ProjectFolder

__all__ = ["kept_for", "store_is_there", "tracking_stamp"]

_COUNTER = slice(24, 28)
"""Where the header of a SQLite file counts its changes."""
_SERVER_SECONDS = 5.0

Stamp = tuple[tuple[int, int, bytes], ...]


def tracking_stamp(project: ProjectFolder) -> Stamp | None:
    """Return what differs after each change of MLflow's database; None for a server, which does not say.

    >>> from types import SimpleNamespace
    >>> tracking_stamp(SimpleNamespace(tracking_uri="sqlite:////no/such/mlflow.db"))
    ()
    >>> tracking_stamp(SimpleNamespace(tracking_uri="http://127.0.0.1:5000")) is None
    True
    """
    path = sqlite_file(project.tracking_uri)
    if path is None:
        return None
    return tuple(_state(file) for file in (path, path.with_name(f"{path.name}-wal")) if file.exists())


def store_is_there(project: ProjectFolder) -> bool:
    """Return whether MLflow's database is there; a server is taken to be. It imports no MLflow.

    >>> from types import SimpleNamespace
    >>> store_is_there(SimpleNamespace(tracking_uri="sqlite:////no/such/mlflow.db"))
    False
    """
    path = sqlite_file(project.tracking_uri)
    return path is None or path.is_file()


def kept_for(stamp: Stamp | None) -> float:
    """Return for how many seconds a reading may be kept whose key has this stamp."""
    return _SERVER_SECONDS if stamp is None else FOR_GOOD


def _state(file: Path) -> tuple[int, int, bytes]:
    found = file.stat()
    with file.open("rb") as content:
        return found.st_mtime_ns, found.st_size, content.read(_COUNTER.stop)[_COUNTER]
