"""Converts paths with any characters to SQLAlchemy addresses of SQLite files, and back."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["sqlite_file", "sqlite_url"]

_SCHEME = re.compile(r"sqlite(\+pysqlite)?:///")


def sqlite_url(file: Path) -> str:
    """Return the SQLAlchemy address of a file.

    >>> sqlite_url(Path("/srv/what?now/state.db"))
    'sqlite+pysqlite:////srv/what%3Fnow/state.db'
    """
    # With "sqlite:///" alone, MLflow would make a folder of the path with its percent signs undecoded.
    return f"sqlite+pysqlite:///{quote(str(file))}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLAlchemy address; None if it is not the address of a SQLite file.

    >>> sqlite_file("sqlite:////srv/what%3Fnow/state.db")
    PosixPath('/srv/what?now/state.db')
    >>> sqlite_file("postgresql://host/records")
    """
    scheme = _SCHEME.match(url)
    path = unquote(url[scheme.end() :].partition("?")[0]) if scheme else ""
    return Path(path) if path else None
