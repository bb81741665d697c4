"""Looks whether the stores and servers that an installation uses can be reached, each for a short time."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.errors import BeingComputed, TidemillError
from tidemill.files.sqlite_urls import sqlite_file

__all__ = ["Backend", "check_backend", "without_secrets"]

_SECONDS = 1.5
_PORTS = {
    "http": 80,
    "https": 443,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "mssql": 1433,
    "redis": 6379,
    "rediss": 6379,
    "ray": 10001,
}


@dataclass(frozen=True)
class Backend:
    """A store or a server, and whether it can be reached."""

    name: str
    address: str
    """Without user, password and query."""
    state: str
    """``ok``, ``failed``, or ``unchecked`` where there is no way to look."""
    found: str
    """What was found, in words."""
    advice: str
    """What to do if it cannot be reached."""


def without_secrets(address: str) -> str:
    """Return an address without user, password, query and fragment.

    >>> without_secrets("postgresql://ada:secret@db.example:5432/tidemill?sslkey=x")
    'postgresql://db.example:5432/tidemill'
    >>> without_secrets("sqlite:////data/state.db"), without_secrets("127.0.0.1:6379")
    ('sqlite:////data/state.db', '127.0.0.1:6379')
    >>> without_secrets("https://[broken")
    'an address that cannot be read'
    """
    if "://" not in address:
        return address.rpartition("@")[2].partition("?")[0]
    scheme, _, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    if "[" in place and "]" not in place:
        return "an address that cannot be read"
    path = path.partition("?")[0].partition("#")[0]
    return f"{scheme}://{place.rpartition('@')[2].partition('?')[0]}{slash}{path}"


def check_backend(name: str, address: str, advice: str) -> Backend:
    """Look whether a backend can be reached.

    Args:
        name: of it, in words.
        address: of a database, a server or a folder.
        advice: what to do if it cannot be reached.

    Raises:
        BeingComputed: it takes longer than this request waits.
    """
    look = _way(address)
    if look is None:
        return Backend(name, without_secrets(address), "unchecked", "there is no way to look", advice)
    try:
        found = READINGS.read(name, ("backend", address), look)
    except BeingComputed:
        raise
    except (TidemillError, OSError, ValueError) as error:
        return Backend(name, without_secrets(address), "failed", f"not reached: {error}", advice)
    return Backend(name, without_secrets(address), "ok", found, advice)


def _way(address: str) -> Callable[[], str] | None:
    file = sqlite_file(address)
    if file is not None:
        return lambda: _file(str(file))
    if address.startswith("/"):
        return lambda: _file(address)
    if "://" not in address:  # such as Ray's own ``127.0.0.1:6379``
        address = f"host://{address}"
    try:
        parts = urlsplit(address)
        kind = parts.scheme.partition("+")[0]
        host, port = parts.hostname, parts.port or _PORTS.get(kind)
    except ValueError:
        return None
    if host is None or port is None:
        return None
    return lambda: _answers(host, port)


def _file(path: str) -> str:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} is not there")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} may not be read")
    return "it is there" if os.access(path, os.W_OK) else "it is there, and may only be read"


def _answers(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=_SECONDS):
        return "it answers"
