"""Turns database errors into messages that say where, which process holds a lock, and what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError, SQLAlchemyError

from tidemill.errors import NotWritable, StateError
from tidemill.files.read_only_sqlite import restart_hint

__all__ = ["lock_holders", "said_plainly", "shown_address", "translated", "words_of"]


@contextmanager
def translated(address: URL) -> Iterator[None]:
    """Raise an error on opening the records at ``address`` as a `StateError`."""
    try:
        yield
    except ImportError as error:
        raise StateError(
            f"the records at {shown_address(address)} need a driver: {error}",
            hint="pip install 'tidemill[postgres]'",
        ) from error
    except NotWritable as error:
        raise NotWritable(
            f"the records at {shown_address(address)} cannot be written: {error}", hint=error.hint
        ) from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        if _is_locked(error):
            raise _locked(address) from error
        raise StateError(
            f"the records at {shown_address(address)} cannot be opened: {words_of(error)}",
            hint="check TIDEMILL_STATE_URL, or that the folder is writable",
        ) from error


@contextmanager
def said_plainly(address: URL) -> Iterator[None]:
    """Raise a database error in a transaction as a `StateError`.

    Errors about a constraint or a type are passed on unchanged, because the caller knows what they mean.
    """
    try:
        yield
    except DatabaseError as error:
        if not isinstance(error, OperationalError) and type(error) is not DatabaseError:
            raise
        if _is_locked(error):
            raise _locked(address) from error
        raise StateError(
            f"the records at {shown_address(address)} cannot be read or written: {words_of(error)}",
            hint=restart_hint(words_of(error))
            or "check the disk, that the file is writable, or that the server answers",
        ) from error


def shown_address(address: URL) -> str:
    """Return an address without its password."""
    return address.render_as_string(hide_password=True)


def words_of(error: Exception) -> str:
    """Return the database's own message, without SQLAlchemy's statement and links."""
    return str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).strip()


def _is_locked(error: Exception) -> bool:
    said = words_of(error)
    return "database is locked" in said or "lock timeout" in said


def _locked(address: URL) -> StateError:
    holders = lock_holders(Path(address.database)) if address.database else []
    return StateError(
        f"the records at {shown_address(address)} are locked by {', '.join(holders) or 'another process'}, "
        "and were not released in time",
        hint="wait for it, or end it, and try again: nothing was written",
    )


def lock_holders(database: Path | None) -> list[str]:
    """Return the processes that hold a lock on a SQLite database: on Linux; nothing elsewhere, or of None."""
    if database is None:
        return []
    numbers = set()
    for name in (database.name, f"{database.name}-shm"):
        try:
            numbers.add(database.with_name(name).stat().st_ino)
        except OSError:
            continue
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    found = {}
    for line in lines:
        words = line.split()  # 1: POSIX ADVISORY WRITE 4711 fd:01:1234 120 120
        if len(words) > 5 and words[3] == "WRITE" and int(words[5].rpartition(":")[2]) in numbers:
            found[int(words[4])] = f"process {words[4]}{_program(int(words[4]))}"
    return list(found.values())


def _program(pid: int) -> str:
    try:
        return f" ({psutil.Process(pid).name()})"
    except (psutil.Error, ValueError):
        return ""
