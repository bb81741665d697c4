"""Opens the records, migrates them, and gives transactions."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from tidemill.errors import TidemillError

__all__ = ["State", "open_state"]

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class State:
    """The records behind one engine."""

    engine: Engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def open_state(url: str) -> State:
    """Open the records at ``url`` and bring their schema up to date.

    Args:
        url: a SQLAlchemy address, such as ``sqlite:///project/.tidemill/state.db``.

    Raises:
        TidemillError: the database cannot be opened or migrated.

    >>> open_state("sqlite://").engine.dialect.name
    'sqlite'
    """
    address = make_url(url)
    try:
        engine = create_engine(address, pool_pre_ping=address.get_backend_name() != "sqlite")
        if address.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_immediate)
        if address.get_backend_name() == "sqlite" and address.database:
            path = Path(address.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name(path.name + ".migrate.lock")):
                _migrate(engine)
        else:
            _migrate(engine)
    except (SQLAlchemyError, OSError) as error:
        raise TidemillError(
            f"the records at {address.render_as_string(hide_password=True)} cannot be opened: {error}",
            hint="check TIDEMILL_STATE_URL, or that the folder is writable",
        ) from error
    return State(engine)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy, not the driver, begins transactions
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    # A reader that turns writer in mid-transaction fails at once in WAL mode, busy_timeout or not.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
