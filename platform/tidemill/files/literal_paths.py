"""Escapes paths for readers that always treat ``*``, ``?`` and ``[`` as wildcards."""

import re
from pathlib import Path

__all__ = ["literal", "split_pattern"]


def literal(path: Path | str) -> str:
    """Return a pattern for Polars that matches this very path and no other.

    Where a reader of Polars has the option, ``glob=False`` is better.

    >>> literal("/srv/model [v2]/rows.ndjson")
    '/srv/model [[]v2]/rows.ndjson'
    """
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def split_pattern(path: str) -> tuple[str, str]:
    """Split a path into the longest folder that exists and the rest, which may contain wildcards.

    >>> split_pattern("/no-such-folder/*.parquet")
    ('/', 'no-such-folder/*.parquet')
    """
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return str(folder), path[len(str(folder)) :]
