"""Copies databases as they are at one moment, while others write to them: SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import make_url

from tidemill.errors import StateError
from tidemill.files.read_only_sqlite import can_change, open_to_read
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.state.postgres_tables import columns_of, connect, tables_of
from tidemill.state.state_errors import shown_address, translated
from tidemill.state.store import WRITERS_LOCK

__all__ = ["DatabaseCopy", "Snapshot", "is_database", "open_snapshots", "row_counts"]

_WAIT_SECONDS = 30.0
Kind = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class DatabaseCopy:
    """A database in files: that of SQLite, or one for each table of PostgreSQL, as its COPY writes them."""

    kind: Kind
    revision: str
    """Of its schema, as Alembic names it."""
    rows: dict[str, int]
    """Number of rows by table."""
    columns: dict[str, list[str]]
    """By table, in the order of the files; only of PostgreSQL."""
    files: dict[str, Path] = field(repr=False)
    """By name: that of the table, or ``database.sqlite``."""


class Snapshot(Protocol):
    """A database as it was at one moment."""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""

    def copy_to(self, folder: Path) -> DatabaseCopy:
        """Write all of it into files in a folder."""


def is_database(url: str) -> bool:
    """Return whether an address is that of a database that can be copied.

    >>> is_database("sqlite:////srv/mlflow.db"), is_database("http://127.0.0.1:5000")
    (True, False)
    """
    return url.startswith(("sqlite", "postgresql"))


@contextmanager
def open_snapshots(records: str, *others: str) -> Iterator[list[Snapshot]]:
    """Give snapshots of the records and of other databases, all of one moment as the records see it.

    Nobody writes to the records while the snapshots are opened, which takes milliseconds. What is done in
    another database is in the records before: so what the others have, the records have or expect.

    Args:
        records: the address of the records.
        others: the addresses of the other databases.

    Raises:
        StateError: a database cannot be read.
    """
    with ExitStack() as stack:
        with _writers_held(records):
            opened = [stack.enter_context(_snapshot(url)) for url in (records, *others)]
        yield opened


def row_counts(file: Path) -> dict[str, int]:
    """Return the number of rows of each table of a SQLite database that is whole.

    Raises:
        StateError: it is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
            [(verdict,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
            if verdict != "ok":
                raise StateError(f"{file.name} is damaged: {verdict}", hint="use another backup")
            return _counted(connection)
    except sqlite3.Error as error:
        raise StateError(f"{file.name} is no whole database: {error}", hint="use another backup") from error


@contextmanager
def _writers_held(url: str) -> Iterator[None]:
    path = sqlite_file(url)
    with translated(make_url(url)), ExitStack() as stack:
        if path is None:
            connection = stack.enter_context(connect(url))
            connection.execute(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")
        elif can_change(path):  # or else nobody here can write to it
            writer = stack.enter_context(closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)))
            writer.isolation_level = None
            writer.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def _snapshot(url: str) -> Iterator[Snapshot]:
    path = sqlite_file(url)
    if path is None:
        with _postgres(url) as opened:
            yield opened
        return
    if not path.exists():
        raise StateError(f"there is no database at {path}", hint="check the project's folder")
    with translated(make_url(url)):
        connection = open_to_read(path, wait_seconds=_WAIT_SECONDS)
    with closing(connection):
        connection.isolation_level = None
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # the snapshot begins here
        yield _Sqlite(connection)


@dataclass(frozen=True)
class _Sqlite:
    connection: sqlite3.Connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def copy_to(self, folder: Path) -> DatabaseCopy:
        file = folder / "database.sqlite"
        with closing(sqlite3.connect(file)) as target:
            self.connection.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # or else it would need files beside it
            counted = _counted(target)
        return DatabaseCopy("sqlite", _revision(self), counted, {}, {file.name: file})


@contextmanager
def _postgres(url: str) -> Iterator[Snapshot]:
    from psycopg import IsolationLevel

    with translated(make_url(url)), connect(url) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("SELECT 1")  # the snapshot begins here
        yield _Postgres(connection, shown_address(make_url(url)))


@dataclass(frozen=True)
class _Postgres:
    connection: Any
    shown: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.connection.execute(query).fetchall())

    def copy_to(self, folder: Path) -> DatabaseCopy:
        from psycopg import sql

        files, counts, columns = {}, {}, {}
        for table in tables_of(self.connection):
            files[table] = folder / table
            columns[table] = columns_of(self.connection, table)
            named = sql.SQL(", ").join(map(sql.Identifier, columns[table]))
            query = sql.SQL("COPY {} ({}) TO STDOUT").format(sql.Identifier(table), named)
            with files[table].open("wb") as out, self.connection.cursor().copy(query) as rows:
                for part in rows:
                    out.write(part)
            number = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            counts[table] = int(self.connection.execute(number).fetchone()[0])
        if "alembic_version" not in files:
            raise StateError(f"{self.shown} has no tables yet", hint="check the address")
        return DatabaseCopy("postgresql", _revision(self), counts, columns, files)


def _revision(snapshot: Snapshot) -> str:
    return max(str(revision) for (revision,) in snapshot.rows("SELECT version_num FROM alembic_version"))


def _counted(connection: sqlite3.Connection) -> dict[str, int]:
    named = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    ).fetchall()
    count = 'SELECT count(*) FROM "{}"'  # names of tables cannot be parameters
    return {name: connection.execute(count.format(name)).fetchone()[0] for (name,) in named}
