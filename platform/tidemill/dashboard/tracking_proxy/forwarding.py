"""Sends a request on to another server of this machine, and its answer back, piece by piece."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive

__all__ = ["BodyTooLarge", "at_most", "forward", "headers_given_back", "headers_sent_on", "new_client"]

_SENT_ON: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "content-encoding",
        "content-length",
        "content-type",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "range",
        "user-agent",
        "x-mlflow-experiment-id",
    }
)
"""Headers of requests. No cookie and no token of ours, and nothing that changes the method or the address."""
_GIVEN_BACK: Final = frozenset(
    {
        "accept-ranges",
        "content-disposition",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "etag",
        "last-modified",
        "vary",
    }
)
"""Headers of answers. No cookies, and no permissions for other origins."""


class BodyTooLarge(Exception):
    """A request brings more than it may."""


def new_client() -> httpx.AsyncClient:
    """Return what keeps the connections; it is used in one event loop."""
    return httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(connect=3, read=120, write=120, pool=10),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=8, keepalive_expiry=5),
    )


async def forward(
    client: httpx.AsyncClient, request: Request, address: httpx.URL, *, headers: Mapping[str, str], most: int
) -> Response:
    """Return another server's answer to a request.

    Args:
        client: keeps the connections.
        request: what was asked here; its body is bounded by `at_most`.
        address: what is asked there.
        headers: of the answer, beside its own.
        most: bytes that the request may say that it brings.

    Raises:
        BodyTooLarge: it brings more.
        httpx.HTTPError: the other server does not answer.
    """
    content = None if request.method in ("GET", "HEAD") else request.stream()
    sent = headers_sent_on(request)
    if content is None:
        sent.pop("content-length", None)
    else:
        _require_small(sent.get("content-length", "0"), most)
    asked = client.build_request(request.method, address, headers=sent, content=content)
    answer = await client.send(asked, stream=True)
    given = {**headers_given_back(answer), **headers}
    return StreamingResponse(
        _pieces(answer), answer.status_code, given, background=BackgroundTask(answer.aclose)
    )


def headers_sent_on(request: Request) -> dict[str, str]:
    """Return the headers of a request that another server gets."""
    return {name: value for name, value in request.headers.items() if name in _SENT_ON}


def headers_given_back(answer: httpx.Response) -> dict[str, str]:
    """Return the headers of another server's answer that a visitor gets."""
    return {name: value for name, value in answer.headers.items() if name in _GIVEN_BACK}


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def at_most(receive: Receive, most: int) -> Receive:
    """Return what receives a request's body, and raises `BodyTooLarge` if it is more than ``most`` bytes."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise BodyTooLarge
        return message

    return bounded


def _require_small(length: str, most: int) -> None:
    if not length.isdecimal() or int(length) > most:
        raise BodyTooLarge
