"""Writes audit entries for other programs: as JSON lines that can be verified, or as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from tidemill.accounts.auditing.audit_chain import COLUMNS, canonical, entry_facts

__all__ = ["csv_lines", "defused", "json_lines"]

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def json_lines(rows: Iterable[Any]) -> Iterator[str]:
    """Yield a line for each entry: its canonical JSON with ``hash`` added.

    Whoever takes ``hash`` out and writes the rest in canonical form hashes to it.
    """
    for row in rows:
        yield canonical({**entry_facts(row), "hash": row.hash}) + "\n"


def csv_lines(rows: Iterable[Any]) -> Iterator[str]:
    """Yield a header and a line for each entry; no cell begins like a formula of a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    names = (*COLUMNS, "hash")
    writer.writerow(names)
    yield _take(text)
    for row in rows:
        facts = {**entry_facts(row), "details": row.details, "hash": row.hash}
        writer.writerow([defused(facts[name]) for name in names])
        yield _take(text)


def defused(value: object) -> object:
    """Return a cell that no spreadsheet runs: an apostrophe goes before what begins like a formula.

    >>> defused("=HYPERLINK(1)"), defused("worse"), defused(None), defused(-1), defused(" =1")
    ("'=HYPERLINK(1)", 'worse', '', -1, "' =1")
    """
    if value is None:
        return ""
    risky = isinstance(value, str) and (value.startswith(_FORMULAS) or value.lstrip().startswith(_FORMULAS))
    return f"'{value}" if risky else value


def _take(text: io.StringIO) -> str:
    line = text.getvalue()
    text.seek(0)
    text.truncate()
    return line
