"""Reads one page of a list, and says where in the list it is."""

from dataclasses import dataclass

from tidemill.errors import UsageError
from tidemill.state.record_reader import PAGE_ROWS, Records, Row

__all__ = ["Part", "read_part", "require_page"]


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
    require_page(number, PAGE_ROWS, total)
    return rows, Part(number, PAGE_ROWS, total, before + bool(rows), before + len(rows))


def require_page(number: int, size: int, total: int) -> None:
    """Refuse a page that a list does not have; the first one of an empty list is there.

    Args:
        number: of the page, from 1.
        size: entries a page.
        total: entries in the whole list.

    Raises:
        UsageError: the list ends before.

    >>> require_page(1, 25, 0), require_page(2, 25, 26)
    (None, None)
    """
    last = max(1, -(-total // size))
    if number > last:
        raise UsageError(
            f"there is no page {number:,}: the list ends with page {last:,}", hint="page 1 has the latest"
        )
