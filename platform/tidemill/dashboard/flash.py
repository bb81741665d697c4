"""Carries what an act did to the page that is shown next, in a cookie that only this server can write."""

import base64
import binascii
import hashlib
import hmac

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["give_message", "take_message"]

_COOKIE = "tidemill_done"
_SECONDS = 60
_LONGEST = 1000


def give_message(request: Request, response: Response, message: str) -> None:
    """Let the next page show a message; programs, which have no forms, read it in the answer of the twin."""
    if not request.state.visit.csrf:
        return
    text = base64.urlsafe_b64encode(message[:_LONGEST].encode()).decode()
    response.set_cookie(
        _COOKIE,
        f"{text}.{_signature(request, text)}",
        max_age=_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def take_message(request: Request, response: Response | None = None) -> str | None:
    """Return the message for this page; the response, if given, clears it.

    A cookie that was not written for this visitor's session says nothing.
    """
    kept = request.cookies.get(_COOKIE)
    if kept is None or not request.state.visit.csrf:
        return None
    if response is not None:
        response.delete_cookie(_COOKIE, httponly=True, samesite="strict")
    text, _, signature = kept.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(request, text).encode()):
        return None
    try:
        return base64.urlsafe_b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _signature(request: Request, text: str) -> str:
    return hmac.new(request.state.visit.csrf.encode(), f"done {text}".encode(), hashlib.sha256).hexdigest()
