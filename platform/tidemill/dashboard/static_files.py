"""Styles, scripts and pictures: their addresses carry a hash of their content, so that browsers keep them."""

import hashlib
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["KeptFiles", "static_address"]

_FOLDER = Path(__file__).parent / "static"


@cache
def _hash(name: str) -> str | None:
    try:
        return hashlib.sha256((_FOLDER / name).read_bytes()).hexdigest()[:16]
    except OSError:  # no such file: the answer says so
        return None


def static_address(name: str) -> str:
    """Return the address of a file of ``static/``.

    >>> static_address("tidemill.css").partition("=")[0]
    '/static/tidemill.css?v'
    """
    return f"/static/{name}?v={_hash(name)}"


class KeptFiles(StaticFiles):
    """The files of ``static/``; an address with the hash of the content may be kept for a year."""

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file."""
        answer = await super().get_response(path, scope)
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("v")
        kept = answer.status_code in (200, 304) and asked is not None and asked == _hash(path)
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return answer
