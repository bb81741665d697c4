"""Reads the records without SQLAlchemy, whose import takes longer than a whole reading command."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tidemill.errors import StateError, TidemillError
from tidemill.files.read_only_sqlite import can_change, copy_database, open_to_read, restart_hint
from tidemill.files.sqlite_urls import sqlite_file, sqlite_url

__all__ = [
    "PAGE_ROWS",
    "Records",
    "Row",
    "newest_schema",
    "open_records",
    "open_records_file",
    "rows_of",
    "said_plainly",
]

_MIGRATIONS = Path(__file__).parent / "migrations" / "versions"
_WAIT_SECONDS = 30.0
PAGE_ROWS = 50
"""Records on one page of a list, unless asked otherwise."""


class Row(SimpleNamespace):
    """A record, with one attribute for each column, in the types of `tidemill.state.tables`."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # the method exists for type checkers


class Records:
    """Read-only access to the records at one address. A database that does not exist yet has no records.

    Args:
        address: the file of a SQLite database, or an address as `tidemill.state.open_state` takes it.
        wait_seconds: how long to wait for who has locked a SQLite database.

    >>> Records("sqlite:////no/such/folder/state.db").select("alerts", "model = ?", "parcel-delay")
    []
    """

    def __init__(self, address: str | Path, wait_seconds: float = _WAIT_SECONDS) -> None:
        self.address = (sqlite_file(address) or address) if isinstance(address, str) else address
        self._wait_seconds = wait_seconds

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database; none for another one."""
        return self.address if isinstance(self.address, Path) else None

    @property
    def absent(self) -> bool:
        """Return whether the database does not exist yet."""
        return isinstance(self.address, Path) and not self.address.exists()

    def select(
        self,
        table: str,
        where: str,
        *values: object,
        order: str = "id",
        limit: int | None = None,
        columns: str = "*",
    ) -> list[Row]:
        """Return the records of a table that meet a condition.

        Args:
            table: name of the table.
            where: an SQL condition, with ``?`` for each of ``values``.
            values: the values, in order.
            order: the columns to sort by, in SQL.
            limit: the greatest number of records.
            columns: those that are read.

        Raises:
            TidemillError: the database cannot be read.
        """
        query = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order}"  # noqa: S608 - ours, not a user's
        return self._rows(query if limit is None else f"{query} LIMIT {limit:d}", values)

    def page(
        self, table: str, where: str, *values: object, order: str, number: int, size: int = PAGE_ROWS
    ) -> tuple[list[Row], int]:
        """Return the records of one page of a list, and how many records the whole list has.

        Args:
            table: name of the table.
            where: an SQL condition, with ``?`` for each of ``values``.
            values: the values, in order.
            order: the columns to sort by, in SQL; an index with them makes every page quick.
            number: of the page, from 1.
            size: records a page.

        Raises:
            TidemillError: the database cannot be read.
        """
        # The inner query reads the index alone, so that the rows before the page are never read.
        limits = f"LIMIT {size:d} OFFSET {(number - 1) * size:d}"
        ids = f"SELECT id FROM {table} WHERE {where} ORDER BY {order} {limits}"  # noqa: S608 - ours
        rows = self._rows(f"SELECT * FROM {table} WHERE id IN ({ids}) ORDER BY {order}", values)  # noqa: S608
        [total] = self._rows(f"SELECT COUNT(*) AS number FROM {table} WHERE {where}", values)  # noqa: S608
        return rows, total.number

    def ids(self, table: str, model: str) -> list[str]:
        """Return the ids of all records of a table for one model, in order."""
        query = f"SELECT id FROM {table} WHERE model = ? ORDER BY id"  # noqa: S608
        return [row.id for row in self._rows(query, (model,))]

    def values(self, table: str, column: str, where: str, *values: object) -> list[str]:
        """Return the different values of a column among the records that meet a condition, in order."""
        query = f"SELECT DISTINCT {column} AS value FROM {table} WHERE {where} ORDER BY {column}"  # noqa: S608
        return [row.value for row in self._rows(query, values)]

    def counts(self, table: str, column: str, where: str, *values: object) -> dict[str, int]:
        """Count the records of a table that meet a condition, by the values of a column."""
        query = f"SELECT {column} AS value, COUNT(*) AS number FROM {table} WHERE {where} GROUP BY {column}"  # noqa: S608
        return {row.value: row.number for row in self._rows(query, values)}

    def _rows(self, query: str, values: Sequence[object]) -> list[Row]:
        given = [value.astimezone(UTC) if isinstance(value, datetime) else value for value in values]
        if isinstance(self.address, str):
            # A percent sign is one only in what `?` did not stand for.
            names, rows = self._postgres_rows(query.replace("%", "%%").replace("?", "%s"), given)
            return [Row(**dict(zip(names, map(_in_utc, found), strict=True))) for found in rows]
        if self.absent:
            return []
        with said_plainly(self.address):
            return self._sqlite_rows(self.address, query, [_sqlite_text(value) for value in given])

    def _sqlite_rows(self, path: Path, query: str, values: Sequence[Any]) -> list[Row]:
        """Return the rows of a query; what keeps SQLite from answering is raised as it says it."""
        with closing(open_records_file(path, self._wait_seconds)) as connection:
            return rows_of(connection, query, values)

    def _postgres_rows(self, query: str, values: Sequence[object]) -> tuple[list[str], list[Any]]:
        """Return the columns and rows of a query in the style of psycopg."""
        return _read_postgres(str(self.address), query, values)


@cache
def newest_schema() -> str:
    """Return what records of this release have as the revision of their schema."""
    return max(path.name[:4] for path in _MIGRATIONS.glob("[0-9]*.py"))


def open_records(address: str | Path) -> Records:
    """Return the records at an address, after migrating the schema if an earlier version wrote it.

    Where the database may only be read, a copy is brought up to date instead.

    Args:
        address: as of `Records`.

    Raises:
        TidemillError: the database cannot be read or migrated.
    """
    records = Records(address)
    if records.absent:
        return records
    try:
        current = records.select("alembic_version", "version_num = ?", newest_schema(), order="version_num")
    except TidemillError:
        current = []
    if not current:
        from tidemill.state.store import open_state

        path = records.path
        if path is not None and not can_change(path):
            path = _copy(path)
            records = Records(path)
        open_state(sqlite_url(path) if path is not None else str(address)).close()
    return records


def _copy(path: Path) -> Path:
    try:
        return copy_database(path)
    except (sqlite3.Error, OSError) as error:
        raise TidemillError(
            f"the records at {path} are of an earlier version, and cannot be copied: {error}",
            hint="make the file and its folder writable, or free space in the folder for temporary files",
        ) from error


def open_records_file(path: Path, wait_seconds: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open a SQLite database of records to read it.

    Args:
        path: its file.
        wait_seconds: how long to wait for who has locked it.
        any_thread: as of `tidemill.files.read_only_sqlite.open_to_read`.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    sqlite3.register_converter("DATETIME", _moment)
    sqlite3.register_converter("JSON", json.loads)
    sqlite3.register_converter("BOOLEAN", lambda text: text == b"1")
    types = sqlite3.PARSE_DECLTYPES
    return open_to_read(path, wait_seconds=wait_seconds, detect_types=types, any_thread=any_thread)


def rows_of(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Row]:
    """Return the rows of a query.

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    with closing(connection.execute(query, values)) as cursor:
        names = [column[0] for column in cursor.description]
        return [Row(**dict(zip(names, found, strict=True))) for found in cursor]


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Raise what keeps SQLite from reading the records at a path as `StateError`."""
    try:
        yield
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise StateError(
                f"the records at {path} are locked: another process has them for itself",
                hint="wait until it is done, or end it: `fuser` with the file names it",
            ) from error
        raise StateError(
            f"the records at {path} cannot be read: {error}",
            hint=restart_hint(str(error))
            or "check TIDEMILL_STATE_URL and the file; a backup brings back a damaged one",
        ) from error


def _moment(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode()).replace(tzinfo=UTC)


def _sqlite_text(value: object) -> object:
    """Return a moment in the text format that SQLAlchemy writes to SQLite."""
    return f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value


def _read_postgres(url: str, query: str, values: Sequence[object]) -> tuple[list[str], list[Any]]:
    try:
        import psycopg
    except ImportError as error:
        raise StateError(
            f"the records need a driver: {error}", hint="pip install 'tidemill[postgres]'"
        ) from error
    try:
        with psycopg.connect("postgresql://" + url.partition("://")[2]) as connection:
            cursor = connection.execute(query.encode(), values)
            return [column.name for column in cursor.description or ()], list(cursor)
    except psycopg.Error as error:
        raise StateError(f"the records cannot be read: {error}", hint="check TIDEMILL_STATE_URL") from error


def _in_utc(value: object) -> object:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
