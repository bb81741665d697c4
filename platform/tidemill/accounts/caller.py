"""Says who a request is from, for the audit entries that are written while it is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Caller", "calling", "current_caller"]


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    """As acts record it."""
    kind: str
    """Of `tidemill.accounts.identities.Identity`."""
    address: str | None
    """Network address."""


_caller: ContextVar[Caller | None] = ContextVar("tidemill_caller", default=None)


def current_caller() -> Caller | None:
    """Return who is answered now; None for commands and processes.

    >>> current_caller() is None
    True
    """
    return _caller.get()


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Answer a request; threads that it is handed to by anyio or asyncio know it, too.

    >>> with calling(Caller("ada", "person", "10.0.0.7")):
    ...     current_caller().address
    '10.0.0.7'
    """
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)
