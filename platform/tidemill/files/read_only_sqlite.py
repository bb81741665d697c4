"""Reads SQLite files, also where nothing can be written: SQLite wants to make files beside a database."""

import atexit
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["can_change", "copy_database", "open_to_read", "restart_hint"]


def open_to_read(
    path: Path, *, wait_seconds: float, detect_types: int = 0, any_thread: bool = False
) -> sqlite3.Connection:
    """Open an existing database to read it only.

    Args:
        path: its file.
        wait_seconds: how long to wait for a writer.
        detect_types: as of `sqlite3.connect`.
        any_thread: whether threads may share the connection, under a lock of theirs.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    address = path.resolve().as_uri() + "?mode=ro"
    try:
        return _open(address, wait_seconds, detect_types, any_thread)
    except sqlite3.OperationalError as error:
        if "unable to open" not in str(error) and "readonly" not in str(error):
            raise
        # In a read-only folder, SQLite opens a database only as immutable.
        return _open(f"{address}&immutable=1", wait_seconds, detect_types, any_thread)


def can_change(path: Path) -> bool:
    """Return whether this process may write an existing database, and make files beside it.

    >>> can_change(Path("/nowhere/records.db"))
    False
    """
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def copy_database(path: Path) -> Path:
    """Copy a database into a folder that only this user may read, and return the copy.

    It is removed when the process ends.

    Raises:
        sqlite3.Error: it cannot be read.
        OSError: the copy cannot be written.
    """
    folder = Path(mkdtemp(prefix="tidemill-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = folder / path.name
    with closing(open_to_read(path, wait_seconds=30)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    return copy


def restart_hint(said: str) -> str | None:
    """Return what to do about an error that SQLite names in a process that has lost the files beside its own.

    >>> restart_hint("disk I/O error")
    'check the disk; if its `-wal` or `-shm` was removed, `tidemill down` and `tidemill up` help'
    >>> restart_hint("no such table: turns")
    """
    if "disk I/O error" not in said:
        return None
    return "check the disk; if its `-wal` or `-shm` was removed, `tidemill down` and `tidemill up` help"


def _open(address: str, wait_seconds: float, detect_types: int, any_thread: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address,
        uri=True,
        timeout=wait_seconds,
        detect_types=detect_types,
        check_same_thread=not any_thread,
    )
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").close()  # SQLite opens files at first use
    except BaseException:
        connection.close()
        raise
    return connection
