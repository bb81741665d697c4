"""Gives back what a person typed into a form that is refused at the door, and leads back to its page."""

from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.requests import Request

from tidemill.dashboard.door.login_page import local_path

__all__ = ["keep_words"]

_WORDS: Final = ("comment", "reason")
"""Fields that take long to type. No other is shown: whoever asks is not known, and it may be a password."""
_LONGEST: Final = 2000


def keep_words(request: Request, body: bytes, words: str, by: str = "") -> None:
    """Let the page that refuses a form show its comment or reason, and lead to the page that it was on.

    Browsers forget it: pages are not to be stored.

    Args:
        request: the form's.
        body: its content.
        words: of the link.
        by: what comes before the address, which is quoted then.
    """
    sent = dict(parse_qsl(body.decode("utf-8", "replace")))
    request.state.kept = {name: sent[name][:_LONGEST] for name in _WORDS if name in sent}
    page = _page_of(request)
    request.state.look = (by + quote(page, safe="") if by else page, words)


def _page_of(request: Request) -> str:
    """Return the page of ours that a request comes from; the first one if it says nothing of that."""
    try:
        parts = urlsplit(request.headers.get("referer", ""))
    except ValueError:
        return "/"
    here = parts.netloc == request.headers.get("host")
    return local_path(parts.path + (f"?{parts.query}" if parts.query else "")) if here else "/"
