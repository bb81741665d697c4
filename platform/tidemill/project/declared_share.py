"""Reads shares as settings declare them: 0.2, or 20%."""

import re
from typing import Annotated

from pydantic import BeforeValidator

__all__ = ["Share", "share_of"]

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")


def share_of(given: object) -> object:
    """Return a percentage as a share; what is none, as it is.

    >>> share_of("20%"), share_of("2.5 %"), share_of(0.2), share_of("many")
    (0.2, 0.025, 0.2, 'many')
    """
    found = _PERCENT.fullmatch(given.strip()) if isinstance(given, str) else None
    return float(found[1]) / 100 if found else given


Share = Annotated[float, BeforeValidator(share_of)]
"""A share of a whole, which may be written as a percentage."""
