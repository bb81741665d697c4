"""Find out who a request is from. Where nobody has to log in, it is anybody on this machine."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection

from tidemill.accounts.identities import OPEN, Identity

__all__ = ["Identification", "Identified", "OpenIdentification"]


@dataclass(frozen=True)
class Identified:
    """Who a request is from, and how its forms are kept from being forged."""

    identity: Identity | None
    """None: nobody has logged in, and somebody must."""
    csrf: str | None
    """What a form must send back; None where nothing that a browser adds by itself made the identity."""
    set_cookie: str | None = None
    """A Set-Cookie header for the answer."""
    session: str = ""
    """Public id of the session that it belongs to."""


class Identification(Protocol):
    """Says who a request is from."""

    def identify(self, request: HTTPConnection) -> Identified:
        """Return who it is from. Called for every request, in a thread of its own."""


class OpenIdentification:
    """Everybody is somebody on this machine; a cookie ties forms to the browser that fetched them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def identify(self, request: HTTPConnection) -> Identified:
        """Return the open identity."""
        visitor = request.cookies.get(_COOKIE, "")
        fresh = None
        if len(visitor) < _LENGTH:
            visitor = secrets.token_urlsafe(32)
            fresh = f"{_COOKIE}={visitor}; Path=/; HttpOnly; SameSite=Strict"
        return Identified(OPEN, hmac.new(self._key, visitor.encode(), hashlib.sha256).hexdigest(), fresh)


_COOKIE = "tidemill_visitor"
_LENGTH = 32
