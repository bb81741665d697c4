"""Reads one page of a list, and says where in the list it is."""

from dataclasses import dataclass

from tidemill.errors import UsageError
from tidemill.state.record_reader import PAGE_ROWS, Records, Row

__all__ = ["Part", "read_part"]


@dataclass(frozen=True)
class Part:
    """Where in a list a page is."""

    number: int
    """Of the page, from 1."""
    size: int
    """Records a page."""
    total: int
    """Records in the whole list."""
    first: int
    """Place of the page's first record, from 1; 0 in an empty list."""
    last: int


def read_part(
    records: Records, table: str, where: str, *values: object, order: str, number: int
) -> tuple[list[Row], Part]:
    """Return the records of one page of a list, and where they are; arguments as of `Records.page`.

    Raises:
        UsageError: the list has no such page.
    """
    rows, total = records.page(table, where, *values, order=order, number=number)
    before = (number - 1) * PAGE_ROWS
    if not rows and number > 1:
        last = max(1, -(-total // PAGE_ROWS))
        raise UsageError(
            f"there is no page {number:,}: the list ends with page {last:,}", hint="page 1 has the latest"
        )
    return rows, Part(number, PAGE_ROWS, total, before + bool(rows), before + len(rows))
