"""Puts a link back to our own pages into MLflow's page, which has none."""

import re
from collections.abc import Mapping
from typing import Final

import httpx
from starlette.requests import Request
from starlette.responses import Response

from tidemill.dashboard.tracking_proxy.forwarding import headers_given_back, headers_sent_on

__all__ = ["page_with_way_back"]

_PLAIN: Final = ("accept-encoding", "if-modified-since", "if-none-match", "if-range", "range")
"""Headers of a request that are kept back: the whole page must come, and as text."""
_OF_THE_OTHER: Final = ("content-length", "etag", "last-modified", "accept-ranges")
"""Headers of MLflow's answer that do not fit ours."""
_BODY = re.compile(rb"<body[^>]*>", re.IGNORECASE)
_STYLE = (
    "position:fixed;left:50%;bottom:0;transform:translateX(-50%);z-index:2147483000;padding:3px 12px;"
    "border:1px solid #fff;border-bottom:0;border-radius:8px 8px 0 0;background:#14506e;color:#fff;"
    "font:600 13px/1.4 system-ui,sans-serif;text-decoration:none"
)
"""The page's policy allows styles in a tag, which its components write, and no style sheet of ours."""
_LINK: Final = f'<nav aria-label="Tidemill"><a href="/" style="{_STYLE}">‹ Tidemill</a></nav>'.encode()


async def page_with_way_back(
    client: httpx.AsyncClient, request: Request, address: httpx.URL, headers: Mapping[str, str]
) -> Response:
    """Return MLflow's page with the link; anything else that it answers as it is.

    Args:
        client: keeps the connections.
        request: what was asked here.
        address: what is asked there.
        headers: of the answer, beside its own.

    Raises:
        httpx.HTTPError: MLflow does not answer.
    """
    sent = {name: value for name, value in headers_sent_on(request).items() if name not in _PLAIN}
    answer = await client.get(address, headers={**sent, "accept-encoding": "identity"})
    given = headers_given_back(answer)
    if answer.headers.get("content-type", "").startswith("text/html"):
        given = {name: value for name, value in given.items() if name not in _OF_THE_OTHER}
        return Response(_with_link(answer.content), answer.status_code, {**given, **headers})
    return Response(answer.content, answer.status_code, {**given, **headers})


def _with_link(page: bytes) -> bytes:
    """Return a page with the link as the first thing in it, where a keyboard comes first.

    >>> _with_link(b'<html><body class="a"><div></div></body></html>').partition(b"<nav")[0]
    b'<html><body class="a">'
    >>> _with_link(b"no page")
    b'no page'
    """
    return _BODY.sub(lambda found: found[0] + _LINK, page, count=1)
