"""Keeps connections to records in PostgreSQL, to read them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from tidemill.errors import StateError
from tidemill.state.state_errors import shown_address, words_of

__all__ = ["reading_engine", "rows_of"]

_LIMITS = {"statement_timeout": 20_000, "lock_timeout": 2_000, "idle_in_transaction_session_timeout": 60_000}
"""Milliseconds."""
_KEPT, _MORE = 8, 24
_SECONDS = 3


def reading_engine(url: str) -> Engine:
    """Return what keeps connections to a database: each is looked at before it is used again.

    Args:
        url: of PostgreSQL, as `tidemill.state.open_state` takes it.

    Raises:
        StateError: the address is wrong, or there is no driver.
    """
    address = make_url(url)
    if address.drivername == "postgresql":  # its meaning depends on the version of SQLAlchemy
        address = address.set(drivername="postgresql+psycopg")
    limits = " ".join(f"-c {name}={value}" for name, value in _LIMITS.items())
    given = {
        "options": f"{address.query.get('options', '')} {limits}".strip(),
        "connect_timeout": f"{_SECONDS}",
    }
    given |= {"tcp_user_timeout": f"{_SECONDS * 1000}"}
    try:
        return create_engine(
            address.update_query_dict(given),
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,
            pool_size=_KEPT,
            max_overflow=_MORE,
            pool_timeout=_SECONDS,
        )
    except (SQLAlchemyError, ImportError) as error:
        raise StateError(
            f"the records at {shown_address(address)} cannot be read: {words_of(error)}",
            hint="check TIDEMILL_STATE_URL; pip install 'tidemill[postgres]' brings the driver",
        ) from error


def rows_of(engine: Engine, query: str, values: Sequence[object]) -> tuple[list[str], list[Any]]:
    """Return the columns and rows of a query in psycopg's style.

    Raises:
        StateError: the server is away, or refuses.
    """
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql(query, tuple(values))
            return list(found.keys()), list(found)
    except SQLAlchemyError as error:
        raise StateError(
            f"the records at {shown_address(engine.url)} cannot be read: {words_of(error)}",
            hint="look whether PostgreSQL runs and answers there; this works again by itself when it does",
        ) from error
