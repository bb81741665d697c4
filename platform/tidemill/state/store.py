"""Opens the records, migrates them, and runs transactions, in SQLite or PostgreSQL.

Transactions run one at a time: the rules rely on that, and the records are small and used a few times a
second. SQLite does this by itself once a transaction begins as a writer; in PostgreSQL each transaction takes
one lock first. If a process dies inside a transaction, the lock is released and its writes are rolled back.
"""

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session

from tidemill.errors import StateError
from tidemill.files.locks import locked
from tidemill.files.read_only_sqlite import can_change, copy_database
from tidemill.files.sqlite_urls import sqlite_file, sqlite_url
from tidemill.state.kept_readers import files_at
from tidemill.state.schema import alembic_config, newest_heads
from tidemill.state.state_errors import said_plainly, shown_address, translated

__all__ = ["WRITERS_LOCK", "State", "expect_state", "make_tables", "open_state", "read_state", "schema_of"]

_WAIT_SECONDS = 30.0
_IDLE_SECONDS = 60.0
"""PostgreSQL aborts a transaction that is idle for this long."""
WRITERS_LOCK = 0x7469_6465_6D69_6C6C
"""Number of the advisory lock that PostgreSQL transactions take ("tidemill" in ASCII)."""


@dataclass(frozen=True)
class State:
    """The records behind one engine."""

    engine: Engine

    def __post_init__(self) -> None:
        weakref.finalize(self, self.engine.dispose)  # close the connections even if the caller forgets to

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all.

        Raises:
            StateError: the database is locked too long, unreachable, full or damaged; nothing was written.
        """
        with (
            said_plainly(self.engine.url),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


@dataclass(frozen=True)
class _ExpectedState(State):
    """Records that are opened on first use; a failed opening is tried again on the next use."""

    url: URL = field(repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _opened: threading.Event = field(default_factory=threading.Event, repr=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open the records if they are not open yet, then give a session as `State` does."""
        with self._lock:
            if not self._opened.is_set():
                _bring_up(self.url, self.engine)
                self._opened.set()
        with super().transaction() as session:
            yield session


def expect_state(url: str, wait_seconds: float = 5.0) -> State:
    """Return the records at ``url`` without opening them, for processes that must start without them.

    Args:
        url: as of `open_state`; until the records can be opened, each transaction raises its errors.
        wait_seconds: how long to wait for another process that writes, if the records are in SQLite.

    >>> expect_state("sqlite:////no/such/folder/state.db").engine.dialect.name
    'sqlite'
    """
    address = make_url(url)
    return _ExpectedState(_engine(address, wait_seconds), address)


def open_state(url: str, wait_seconds: float = _WAIT_SECONDS) -> State:
    """Open the records at ``url`` and bring their schema up to date.

    Args:
        url: a SQLAlchemy address, such as ``sqlite:///project/.tidemill/state.db``.
        wait_seconds: how long a transaction waits for another process that writes.

    Raises:
        StateError: the database cannot be opened or migrated.

    >>> open_state("sqlite://").engine.dialect.name
    'sqlite'
    """
    address = make_url(url)
    engine = _engine(address, wait_seconds)
    try:
        _bring_up(address, engine)
    except BaseException:
        engine.dispose()
        raise
    return State(engine)


def read_state(url: str) -> State:
    """Open the records at ``url`` to read them: where nothing can be written, a copy of them.

    Args:
        url: as of `open_state`.

    Raises:
        StateError: the database cannot be opened, copied or migrated.

    >>> read_state("sqlite://").engine.dialect.name
    'sqlite'
    """
    path = sqlite_file(url)
    if path is None or not path.exists() or can_change(path):
        return open_state(url)
    with translated(make_url(url)):
        copy = copy_database(path)
    return open_state(sqlite_url(copy))


def schema_of(url: str) -> str | None:
    """Return the revision of the records at ``url`` without changing them; None where there are none.

    Raises:
        StateError: the database cannot be opened.
    """
    path, address = sqlite_file(url), make_url(url)
    if path is not None and not path.exists():
        return None
    engine = _engine(address, _WAIT_SECONDS)
    try:
        with translated(address), engine.connect() as connection:
            return max(MigrationContext.configure(connection).get_current_heads(), default=None)
    finally:
        engine.dispose()


def make_tables(url: str, revision: str, *, keep: bool = True) -> None:
    """Bring the records at ``url`` to a schema in one transaction.

    Args:
        url: as of `open_state`.
        revision: of the schema, or ``heads``.
        keep: whether to commit; False tries it, and leaves the records as they were.

    Raises:
        StateError: the database cannot be opened or migrated.
    """
    address = make_url(url)
    engine = _engine(address, _WAIT_SECONDS)
    try:
        with translated(address), engine.connect() as connection, connection.begin() as change:
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if not keep:
                change.rollback()
    finally:
        engine.dispose()


def _engine(address: URL, wait_seconds: float) -> Engine:
    kind = address.get_backend_name()
    if kind == "postgresql":
        return _postgres(address, wait_seconds)
    if kind != "sqlite":
        raise StateError(
            f"the records cannot be kept in {kind}",
            hint="TIDEMILL_STATE_URL takes sqlite:///PATH and postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    with translated(address):
        engine = create_engine(address)
    event.listen(engine, "connect", partial(_prepare_sqlite, wait_seconds))
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _postgres(address: URL, wait_seconds: float) -> Engine:
    limits = {"lock_timeout": wait_seconds, "idle_in_transaction_session_timeout": _IDLE_SECONDS}
    options = " ".join(f"-c {name}={round(seconds * 1000)}" for name, seconds in limits.items())
    if address.drivername == "postgresql":  # its meaning depends on the version of SQLAlchemy
        address = address.set(drivername="postgresql+psycopg")
    given = address.query.get("options", "")
    address = address.update_query_dict({"options": f"{given} {options}".strip()})
    address = address.update_query_dict({"connect_timeout": str(max(round(wait_seconds), 1))})
    with translated(address):
        engine = create_engine(address, pool_pre_ping=True)
    event.listen(engine, "begin", _take_turn)
    return engine


def _bring_up(address: URL, engine: Engine) -> None:
    with translated(address):
        if address.get_backend_name() == "sqlite" and address.database:
            path = Path(address.database)
            with locked(path.with_name(path.name + ".migrate.lock"), wait_seconds=None):
                _migrate(engine)
        else:
            _migrate(engine)
    if address.get_backend_name() == "sqlite" and address.database:
        _watch_file(engine, Path(address.database))


def _watch_file(engine: Engine, path: Path) -> None:
    """Let transactions fail where the file is gone, and see another one, or another log, in its place.

    SQLite itself would write to the deleted file or log, or make an empty one.
    """

    def require_file(*_: object) -> None:
        if not path.exists():
            raise sqlite3.OperationalError(f"{path} is not there any more")

    def note_files(_connection: Any, record: Any) -> None:
        record.info["files"] = files_at(path)

    def look_at_files(connection: Any, record: Any, _proxy: object) -> None:
        require_file()
        now = files_at(path)
        known = record.info.get("files", now)
        if known[:2] == now[:2] and known[2] not in (0, now[2]):
            _close_without_log(connection, path)
        if known[:2] != now[:2] or known[2] not in (0, now[2]):
            raise DisconnectionError  # the pool connects anew
        record.info["files"] = now  # the log may have been made since

    event.listen(engine, "do_connect", require_file)
    event.listen(engine, "connect", note_files)
    event.listen(engine, "checkout", look_at_files)


def _close_without_log(connection: Any, path: Path) -> None:
    """Close a connection whose log was removed; the last one would write that log into the file first."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as other:
        other.execute("BEGIN")
        other.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchall()  # from now on, the other is not the last
        connection.close()


def _prepare_sqlite(wait_seconds: float, connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    cursor = connection.cursor()
    waiting = f"busy_timeout={round(wait_seconds * 1000)}"
    # Overwrite freed pages, so that erased values do not stay in the file, on any build of SQLite.
    erasing = "secure_delete=ON"
    for pragma in (waiting, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", erasing):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    # In WAL mode, a read transaction that starts to write fails at once, whatever the busy_timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _take_turn(connection: Any) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})")


def _migrate(engine: Engine) -> None:
    with engine.begin() as connection:
        found = MigrationContext.configure(connection).get_current_heads()
        if found == newest_heads():
            return
        if max(found, default="") > max(newest_heads()):
            raise StateError(
                f"the records at {shown_address(engine.url)} are of a newer release of Tidemill: "
                f"their schema is {max(found)}, this release knows {max(newest_heads())}",
                hint="use that release, or restore a backup that this one made",
            )
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
