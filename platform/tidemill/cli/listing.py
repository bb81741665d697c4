"""Shows lists as a table if it fits the terminal, else as a block for each row."""

import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.style import Style
    from rich.table import Table

__all__ = ["Listing", "shorten", "shortest_length"]

_SHORT = 16
"""Cells of up to so many characters, such as a moment, are never folded."""
_READABLE = 24
"""Longer cells are folded to no less than this: narrower columns are hard to read."""
_MOST_LINES = 4
"""A table with a row of more lines is shown as blocks."""
_GAP = 2
_NOTHING = ("", "–")


class Listing:
    """Rows under headers. Printed on a console, it is a table, or blocks where a table would not fit.

    >>> from rich.console import Console
    >>> listing = Listing("id", "status", "why")
    >>> listing.add_row("alert_1", "open", "the quality fell, and nobody knows the reason for it yet")
    >>> Console(width=34).print(listing)
    id      alert_1
    status  open
    why     the quality fell, and
            nobody knows the reason
            for it yet
    """

    def __init__(self, *headers: str, title: str | None = None) -> None:
        self.headers, self.title = headers, title
        self.rows: list[tuple[str, ...]] = []

    @property
    def row_count(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def add_row(self, *cells: str) -> None:
        """Add a row: a cell for each header."""
        self.rows.append(cells)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Choose table or blocks by the available width."""
        from rich.text import Text

        widths = self._widths(options.max_width)
        if widths is not None and self.title is None and self._plain(widths):
            yield from self._as_lines(widths, console.get_style("table.header"))
            return
        if widths is not None:
            yield self._table(widths)
            return
        if self.title:
            yield Text(self.title, style="italic")
        blocks = ("\n".join(_block(self.headers, row, options.max_width)) for row in self.rows)
        yield Text("\n\n".join(blocks), no_wrap=True, overflow="ignore")  # paths stay whole

    def _widths(self, available: int) -> list[int] | None:
        """Return the width of each column of a table; None if the table would be unreadable."""
        columns = list(zip(self.headers, *self.rows, strict=True))
        natural = [max(len(line) for cell in column for line in _lines(cell)) for column in columns]
        least = [
            min(wide, _SHORT if wide <= _SHORT else max(_READABLE, *map(_longest_word, column)))
            for wide, column in zip(natural, columns, strict=True)
        ]
        spare = available - _GAP * (len(columns) - 1) - sum(least)
        if spare < 0:
            return None
        widths = list(least)
        for place in sorted(range(len(widths)), key=lambda place: natural[place]):
            more = min(spare, natural[place] - widths[place])
            widths[place] += more
            spare -= more
        folded = any(
            _height(cell, wide) > max(_MOST_LINES, len(_lines(cell)))
            for row in self.rows
            for cell, wide in zip(row, widths, strict=True)
        )
        return None if folded else widths

    def _plain(self, widths: list[int]) -> bool:
        """Return whether each cell is one line that fits: then no table needs to be laid out."""
        from rich.cells import cell_len

        return all(
            cell.isprintable() and cell_len(cell) <= wide
            for row in (self.headers, *self.rows)
            for cell, wide in zip(row, widths, strict=True)
        )

    def _as_lines(self, widths: list[int], header: "Style") -> "RenderResult":
        """Return what a table of such cells looks like; of thousands of rows Rich's own takes a second."""
        from rich.cells import set_cell_size
        from rich.segment import Segment

        gap = " " * _GAP
        lines = [
            gap.join(set_cell_size(cell, wide) for cell, wide in zip(row, widths, strict=True))
            for row in (self.headers, *self.rows)
        ]
        yield Segment(lines[0], header)
        yield Segment.line()
        yield Segment("\n".join(["─" * (sum(widths) + _GAP * (len(widths) - 1)), *lines[1:]]))
        yield Segment.line()

    def _table(self, widths: list[int]) -> "Table":
        from rich import box
        from rich.table import Column, Table

        columns = [
            Column(header, width=wide, overflow="fold")
            for header, wide in zip(self.headers, widths, strict=True)
        ]
        folded = any(_height(cell, w) > 1 for row in self.rows for cell, w in zip(row, widths, strict=True))
        table = Table(
            *columns,
            title=self.title,
            leading=int(folded),
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, _GAP - 1, 0, 0),
        )
        for row in self.rows:
            table.add_row(*row)
        return table


def _block(headers: Iterable[str], row: Iterable[str], available: int) -> Iterator[str]:
    """Return the lines of one row: its cells below each other, without empty ones."""
    cells = [(header, cell) for header, cell in zip(headers, row, strict=True) if cell not in _NOTHING]
    indent = max((len(header) for header, _ in cells), default=0) + _GAP
    for header, cell in cells:
        wide = max(available - indent, _SHORT)
        lines = [part for line in _lines(cell) for part in (_wrapped(line, wide) or [""])]
        for number, line in enumerate(lines):
            yield f"{'' if number else header:<{indent}}{line}"


def _wrapped(line: str, wide: int) -> list[str]:
    return textwrap.wrap(line, wide, break_long_words=False, break_on_hyphens=False)


def _lines(cell: str) -> list[str]:
    return cell.splitlines() or [""]


def _height(cell: str, wide: int) -> int:
    return sum(1 if len(line) <= wide else len(_wrapped(line, wide)) or 1 for line in _lines(cell))


def _longest_word(cell: str) -> int:
    return max((len(word) for word in cell.split()), default=0)


def shortest_length(ids: Iterable[str], least: int = 8) -> int:
    """Return how many leading characters make the ids distinct; at least ``least`` after the prefix.

    Ids begin with the time they were made, so fewer would be those of later ones, too.

    >>> shortest_length(["alert_01kg7axyz", "alert_01kg7bxyz", "alert_01m2abxyz"])
    14
    """
    ordered = sorted(set(ids))
    least += max((each.rfind("_") + 1 for each in ordered), default=0)
    for one, other in pairwise(ordered):
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
        least = max(least, same + 1)
    return least


def shorten(ids: Iterable[str], least: int = 8) -> dict[str, str]:
    """Return each id with its first characters that no other of ``ids`` has.

    >>> shorten(["alert_01kg7abcxyz", "alert_01kg7bcdxyz"])
    {'alert_01kg7abcxyz': 'alert_01kg7abc', 'alert_01kg7bcdxyz': 'alert_01kg7bcd'}
    """
    known = list(ids)
    length = shortest_length(known, least)
    return {each: each[:length] for each in known}
