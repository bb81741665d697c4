"""Keeps connections that read a SQLite database, for a process that asks it many times a second.

To open one takes longer than most queries: SQLite reads the whole schema anew.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["KeptReaders", "files_at"]

_MOST = 8
"""Idle connections that are kept."""
_CHANGED = (0, 0, 0)


class _Kept(NamedTuple):
    """A connection, and what tells the files that it has open from others at the same path."""

    connection: sqlite3.Connection
    files: tuple[int, int, int]


class KeptReaders:
    """Idle connections to a database; one that was moved away, or replaced by another, is opened anew."""

    def __init__(self, open_new: Callable[[Path], sqlite3.Connection]) -> None:
        """Take what opens a connection, which any thread may use."""
        self._open = open_new
        self._lock = threading.Lock()
        self._idle: list[_Kept] = []
        self._watching: _Kept | None = None
        self._openings = 0

    def mark(self, path: Path) -> tuple[int, int]:
        """Return what is another one whenever another connection has changed something.

        Raises:
            sqlite3.Error: the database cannot be read.
            OSError: it is not there.
        """
        with self._lock:
            known = self._watching
            if known is None or known.files != files_at(path) or known.files == _CHANGED:
                self._watching = None
                if known is not None:
                    known.connection.close()
                known, self._openings = self._begin(path), self._openings + 1
                self._watching = known
            # SQLite counts changes for each connection apart.
            [[changes]] = known.connection.execute("PRAGMA data_version")
            return self._openings, changes

    @contextmanager
    def connection(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Give a connection for the length of the block; one whose block fails is closed.

        Raises:
            sqlite3.Error: the database cannot be read.
            OSError: it is not there.
        """
        taken = self._take(files_at(path)) or self._begin(path)
        try:
            yield taken.connection
        except BaseException:
            taken.connection.close()
            raise
        self._give_back(taken)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
            idle += [self._watching] if self._watching else []
            self._watching = None
        for one in idle:
            one.connection.close()

    def _take(self, files: tuple[int, int, int]) -> _Kept | None:
        with self._lock:
            stale = [one for one in self._idle if one.files != files]
            self._idle = [one for one in self._idle if one.files == files]
            taken = self._idle.pop() if self._idle else None
        for one in stale:
            one.connection.close()
        return taken

    def _begin(self, path: Path) -> _Kept:
        before = files_at(path)
        connection = self._open(path)
        after = files_at(path)  # the log of changes may have been made by the opening
        # A folder that cannot be written has its database opened as one that never changes: not for long.
        lasting = before[:2] == after[:2] and os.access(path.parent, os.W_OK)
        return _Kept(connection, after if lasting else _CHANGED)

    def _give_back(self, one: _Kept) -> None:
        with self._lock:
            keep = one.files != _CHANGED and len(self._idle) < _MOST
            if keep:
                self._idle.append(one)
        if not keep:
            one.connection.close()


def files_at(path: Path) -> tuple[int, int, int]:
    """Return what identifies the file of a database, and its log of changes; 0 where it has none.

    Raises:
        OSError: there is no such file.
    """
    found = path.stat()
    try:
        log = path.with_name(f"{path.name}-wal").stat().st_ino
    except FileNotFoundError:
        log = 0
    return found.st_dev, found.st_ino, log
