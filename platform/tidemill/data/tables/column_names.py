"""Write names of columns so that Polars takes them literally."""

import re
from collections.abc import Iterable

__all__ = ["is_pattern", "literal_name", "literal_names"]


def literal_name(name: str) -> str:
    """Return how to name a user's column wherever Polars takes an expression, as in `pl.col` and `select`.

    There Polars reads ``*``, and text from ``^`` to ``$``, as patterns. Where it takes plain names alone
    (``frame[name]``, ``rename``, ``alias``, ``by`` of an as-of join), the name itself is right. Give `pl.col`
    one of them at a time: with several it returns patterns in the table's order.

    >>> literal_name("wind"), literal_name("^wind$"), literal_name("*")
    ('wind', '^\\\\^wind\\\\$$', '^\\\\*$')
    """
    return f"^{re.escape(name)}$" if is_pattern(name) else name


def is_pattern(name: str) -> bool:
    """Return whether Polars and pandera take the name of a column for a pattern of names."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def literal_names(names: Iterable[str]) -> list[str]:
    """Return several names as `literal_name` does, in order."""
    return [literal_name(name) for name in names]
