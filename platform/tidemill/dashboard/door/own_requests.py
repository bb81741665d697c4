"""Tells requests that a page of ours or a program sends from those that a page of another site sends."""

from urllib.parse import urlsplit

from starlette.requests import Request

__all__ = ["comes_from_elsewhere"]


def comes_from_elsewhere(request: Request) -> bool:
    """Return whether a request that changes something may come from another site's page.

    For what has no forms of ours: browsers say where a request comes from, and programs, which send no
    cookie, need not.
    """
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc != request.headers.get("host")
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    return "cookie" in request.headers and "authorization" not in request.headers
