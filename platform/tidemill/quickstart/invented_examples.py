"""Invents a value that looks like those of a column and is none of them, for files that git keeps."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from tidemill.data.profiling.table_profile import ColumnProfile

__all__ = ["invented"]

_LONGEST = 40
_LATEST = 2**63 - 1
_FILLS = ("9Xx", "0Qq", "8Zz")
_EARLY = datetime(1900, 1, 1, tzinfo=UTC)


def invented(column: ColumnProfile, values: pl.Series) -> Any:
    """Return a value of the column's type and form that stands in no row of a sample; of a list None.

    Args:
        column: of a table.
        values: a sample of it.

    >>> from tidemill.data.profiling.table_profile import profile_table
    >>> table = pl.DataFrame({"id": [1041, 1399], "code": ["AB-17", "CD-20"], "mail": ["ada@a.org", None]})
    >>> columns = profile_table(table.lazy()).columns
    >>> [invented(column, table[name]) for name, column in columns.items()]
    [9999, 'XX-99', 'xxx@x.xxx']
    """
    if column.dtype.is_numeric():
        return _number(column)
    if column.is_moment:
        return "1900-01-01T00:00:00+00:00" if _is_later(column.low) else "2099-12-31T00:00:00+00:00"
    if not column.is_text:
        return False if column.dtype == pl.Boolean else None
    typical, taken = str(column.typical or "x")[:_LONGEST], set(values.cast(pl.String))
    masks = (_masked(typical, *fills) for fills in _FILLS)
    return next((mask for mask in masks if mask not in taken), f"example of {column.name}")


def _number(column: ColumnProfile) -> Any:
    """Return nines, as many as the highest value has digits or one more; beyond 64 bits less than all."""
    whole = column.dtype.is_integer()
    low, high = int(column.low or 0), int(column.high or 0)
    nines = 10 ** len(str(abs(high) + 1)) - 1
    found = nines if nines <= _LATEST else low - 1
    return found if whole else float(found)


def _is_later(low: Any) -> bool:
    if low is None:
        return True
    moment = low if isinstance(low, datetime) else datetime.combine(low, datetime.min.time())
    return moment.replace(tzinfo=moment.tzinfo or UTC) > _EARLY


def _masked(text: str, digit: str, upper: str, lower: str) -> str:
    def of(letter: str) -> str:
        if letter.isdigit():
            return digit
        return upper if letter.isupper() else lower if letter.isalpha() else letter

    return "".join(map(of, text))
