"""Identifiers that sort by the time they were made."""

import os
import time

__all__ = ["new_id"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def new_id(prefix: str) -> str:
    """Return ``prefix`` and 26 characters: 48 bits of milliseconds, then 80 random bits (the ULID layout).

    >>> new_id("pred").startswith("pred_"), len(new_id("pred"))
    (True, 31)
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return f"{prefix}_" + "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])
