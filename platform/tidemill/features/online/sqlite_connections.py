"""Share connections to SQLite files between threads, but not with forked children."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.errors import FeatureError
from tidemill.files.read_only_sqlite import can_change, open_to_read

__all__ = ["Connections"]

_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_WRITES = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536")
_READS = ("query_only = 1", "cache_size = -16384")


class Connections:
    """One connection to read and one to write for each file and process, each used by one thread at a time.

    The files are in WAL mode: readers do not wait for writers, and never see a partial write.
    """

    def __init__(self) -> None:
        self._read_seconds = _WAIT_SECONDS
        self._locks = {False: threading.RLock(), True: threading.RLock()}
        self._open: dict[tuple[int, Path, bool], sqlite3.Connection] = {}
        self._files: dict[Path, int] = {}
        self._look_at = 0.0

    def limit_waiting(self, seconds: float) -> None:
        """Limit how long readers wait for a file that another process has locked."""
        with self._locks[False]:
            self._read_seconds = seconds
            self._forget(writes=False)

    @contextmanager
    def reading(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Lend the connection to read.

        The file is opened anew after an error, and within a second of another file having taken its place; a
        file that was removed is read on as it was.

        Raises:
            sqlite3.Error: there is no such file, or it cannot be read.
        """
        with self._locks[False]:
            if time.monotonic() >= self._look_at:
                self._look(path)
            try:
                yield self._open.get((os.getpid(), path, False)) or self._connect(path, writes=False)
            except sqlite3.DatabaseError:
                self._forget(writes=False)
                raise

    @contextmanager
    def writing(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Lend the connection to write, within a transaction; waits up to a minute for another writer.

        Raises:
            FeatureError: the file cannot be written; the transaction is rolled back.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locks[True]:
                connection = self._open.get((os.getpid(), path, True)) or self._connect(path, writes=True)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            raise FeatureError(
                f"{path} cannot be written: {error}",
                hint="check that the folder can be written and the disk has space",
            ) from error

    def close(self) -> None:
        """Close the connections of this process."""
        with self._locks[True], self._locks[False]:
            for (process, _, _), connection in self._open.items():
                if process == os.getpid():  # a forked child must not touch its parent's
                    connection.close()
            self._open.clear()

    def _look(self, path: Path) -> None:
        self._look_at = time.monotonic() + _LOOK_SECONDS
        if path in self._files and path.exists() and path.stat().st_ino != self._files[path]:
            self._forget(writes=False)

    def _forget(self, writes: bool) -> None:
        for at in [at for at in self._open if at[0] == os.getpid() and at[2] == writes]:
            self._open.pop(at).close()

    def _connect(self, path: Path, writes: bool) -> sqlite3.Connection:
        if not writes and not path.exists():
            raise sqlite3.OperationalError(f"no such file: {path}")
        seconds = _WAIT_SECONDS if writes else self._read_seconds
        if writes or can_change(path):
            connection = sqlite3.connect(path, timeout=seconds, isolation_level=None, check_same_thread=False)
            for pragma in _WRITES if writes else _READS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
        else:
            connection = open_to_read(path, wait_seconds=seconds, any_thread=True)
            connection.isolation_level = None
        self._open[os.getpid(), path, writes] = connection
        if not writes:
            self._files[path] = path.stat().st_ino
        return connection
