"""Makes addresses of pages from names, and finds what no name and no text that is sent may hold."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

__all__ = ["address_of", "first_control"]

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def address_of(*parts: str) -> str:
    """Return the address with these parts.

    >>> address_of("models", "a/b?", "alerts")
    '/models/a%2Fb%3F/alerts'
    """
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def first_control(sent: Any) -> str | None:
    """Return the first control character in what was sent; a tab and the end of a line are none.

    Git, file systems and PostgreSQL take no NUL, and nobody means to send the others.

    >>> first_control({"reason": "a\\0b"}), first_control([("reason", "one line\\nand another")])
    ('U+0000', None)
    """
    match sent:
        case str():
            found = _CONTROL.search(sent)
            return f"U+{ord(found[0]):04X}" if found else None
        case Mapping():
            parts = [*sent.keys(), *sent.values()]
        case list() | tuple():
            parts = list(sent)
        case _:
            return None
    return next((name for one in parts if (name := first_control(one)) is not None), None)
