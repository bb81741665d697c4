"""Addresses of SQLite files, for paths with any characters."""

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
    # For "sqlite:///" alone MLflow makes the folder that follows, percent signs and all.
    return f"sqlite+pysqlite:///{quote(str(file))}"


def sqlite_file(url: str) -> Path | None:
    """Return the file behind a SQLAlchemy address; none if it names no file of SQLite.

    >>> sqlite_file("sqlite:////srv/what%3Fnow/state.db")
    PosixPath('/srv/what?now/state.db')
    >>> sqlite_file("postgresql://host/records")
    """
    scheme = _SCHEME.match(url)
    path = unquote(url[scheme.end() :].partition("?")[0]) if scheme else ""
    return Path(path) if path else None
