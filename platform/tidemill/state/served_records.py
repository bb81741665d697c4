"""Reads the records for a process that serves many people at once.

Unlike a command, it outlives what happens to them: they may be locked, moved away, brought to another schema,
or their server may stop. Each is said in words at once, and everything works again when they are back.
"""

import threading
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.errors import StateError
from tidemill.state.kept_readers import KeptReaders
from tidemill.state.record_reader import Records, Row, newest_schema, open_records_file, rows_of, said_plainly

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["ServedRecords"]

_WAIT_SECONDS = 2.0
_LOOK_SECONDS = 2.0
_PLACE_OF_CHANGES = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END"
)
"""How far PostgreSQL's log of changes is."""


class ServedRecords(Records):
    """Records that must be there and of this release's schema, and that answer soon or not at all.

    Connections are kept; the first error of one ends it, and the next query makes a new one.

    >>> ServedRecords("sqlite:////no/such/folder/state.db").select("alerts", "1 = 1")
    Traceback (most recent call last):
        ...
    tidemill.errors.StateError: the records are not at /no/such/folder/state.db any more
    """

    def __init__(self, address: str | Path) -> None:
        super().__init__(address, wait_seconds=_WAIT_SECONDS)
        self._looked_at = -_LOOK_SECONDS
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._readers = KeptReaders(lambda path: open_records_file(path, _WAIT_SECONDS, any_thread=True))

    def close(self) -> None:
        """Close the connections that are kept."""
        self._readers.close()
        if self._engine is not None:
            self._engine.dispose()

    def mark(self) -> Hashable:
        """Return what is another one whenever something in the records has changed.

        Raises:
            TidemillError: the records cannot be read.
        """
        if self.path is None:
            return tuple(self._postgres_rows(_PLACE_OF_CHANGES, ())[1][0])
        with said_plainly(self.path), self._found():
            return self._readers.mark(self.path)

    def _rows(self, query: str, values: Sequence[object]) -> list[Row]:
        if self.absent:
            raise self._away()
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._require_schema()
            self._looked_at = time.monotonic()
        return super()._rows(query, values)

    def _require_schema(self) -> None:
        newest = newest_schema()
        found = [row.version_num for row in super()._rows("SELECT version_num FROM alembic_version", ())]
        if found == [newest]:
            return
        if max(found, default="") > newest:
            raise StateError(
                f"the records are of a newer release of Tidemill: their schema is {max(found)}, "
                f"this release knows {newest}",
                hint="start the dashboard of that release; the records themselves are whole",
            )
        raise StateError(
            f"the records are of an earlier release of Tidemill: their schema is "
            f"{max(found, default='none')}, this release needs {newest}",
            hint="start the dashboard again: it brings them up to date as it starts",
        )

    def _sqlite_rows(self, path: Path, query: str, values: Sequence[Any]) -> list[Row]:
        with self._found(), self._readers.connection(path) as connection:
            return rows_of(connection, query, values)

    @contextmanager
    def _found(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise self._away() from error

    def _away(self) -> StateError:
        return StateError(
            f"the records are not at {self.path} any more",
            hint="bring the file back, or restore a backup of it; nothing here needs to be restarted",
        )

    def _postgres_rows(self, query: str, values: Sequence[object]) -> tuple[list[str], list[Any]]:
        from tidemill.state.record_connections import reading_engine, rows_of

        with self._lock:
            if self._engine is None:
                self._engine = reading_engine(str(self.address))
        return rows_of(self._engine, query, values)
