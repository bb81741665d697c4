"""Makes addresses of pages from names that may hold any character."""

from urllib.parse import quote

__all__ = ["address"]


def address(*parts: str) -> str:
    """Return the address of a page.

    >>> address("models", "delay", "features", "a/b?c#d")
    '/models/delay/features/a%2Fb%3Fc%23d'
    """
    return "/" + "/".join(quote(part, safe="") for part in parts)
