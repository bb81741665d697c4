"""Makes addresses of pages from names that may hold any character."""

from urllib.parse import quote

__all__ = ["address_of"]


def address_of(*parts: str) -> str:
    """Return the address with these parts.

    >>> address_of("models", "a/b?", "alerts")
    '/models/a%2Fb%3F/alerts'
    """
    return "".join(f"/{quote(part, safe='')}" for part in parts)
