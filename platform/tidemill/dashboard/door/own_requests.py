"""Tells requests that a page of ours or a program sends from those that a page of another site sends."""

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request

__all__ = ["FORM", "comes_from_elsewhere", "host_name", "is_foreign", "is_own_form"]

FORM: Final = "application/x-www-form-urlencoded"
"""The only kind of form."""


def host_name(request: Request) -> str:
    """Return the name in the Host header, without its port; nothing if it is no name."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:  # such as a bracket that is not closed
        return ""


def is_foreign(request: Request) -> bool:
    """Return whether a page of another site says that it sends this; one that says nothing readable does."""
    origin = request.headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    except ValueError:
        return True


def is_own_form(request: Request) -> bool:
    """Return whether a form was sent, and not by a page of another site."""
    return request.headers.get("content-type", "").startswith(FORM) and not is_foreign(request)


def comes_from_elsewhere(request: Request) -> bool:
    """Return whether a request that changes something may come from another site's page.

    For what has no forms of ours: browsers say where a request comes from, and programs, which send no
    cookie, need not.
    """
    if "origin" in request.headers:
        return is_foreign(request)
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site != "same-origin"
    return "cookie" in request.headers and "authorization" not in request.headers
