"""Paths for readers that take ``*``, ``?`` and ``[`` in a path for a pattern, and cannot be told not to."""

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["literal", "literals"]


def literal(path: Path | str) -> str:
    """Return a pattern for Polars that matches this very path and no other.

    Where a reader of Polars has the option, ``glob=False`` is better.

    >>> literal("/srv/model [v2]/rows.ndjson")
    '/srv/model [[]v2]/rows.ndjson'
    """
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def literals(paths: Iterable[Path]) -> list[str]:
    """Return a pattern for each path, as `literal` does."""
    return [literal(path) for path in paths]
