"""Formats data versions for people."""

import json
import re
from typing import TYPE_CHECKING, Any

from tidemill.cli.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from tidemill.data.tables.table_stats import ColumnStats
    from tidemill.data.versioning.diff import DataDiff, FileDiff
    from tidemill.data.versioning.version_log import LogEntry

__all__ = [
    "SHORT_ID",
    "first_lines",
    "parameter_lines",
    "render_diff",
    "size",
    "statistics_table",
    "validation_table",
]

SHORT_ID = 10
"""Characters of a revision that are shown."""
_MEASURES = ("dtype", "nulls", "distinct", "mean", "std", "min", "max")
_SHOWN = ("type", *_MEASURES[1:])
_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.0+)?(?:\+00:00)?$")
_ZONED = re.compile(r"Datetime\(time_unit='(\w+)', time_zone='?([^')]+)'?\)")


def first_lines(lines: list[str], most: int = 8) -> list[str]:
    """Return the first of ``lines``, and how many more there are."""
    return lines if len(lines) <= most else [*lines[: most - 1], f"… and {len(lines) - most + 1} more"]


def parameter_lines(entry: "LogEntry") -> list[str]:
    """Return a line for each parameter that differs from the version before."""
    lines = []
    for name, (old, new) in entry.params.items():
        was = "added" if name in entry.added_params else _value(old)
        now = "removed" if name in entry.removed_params else _value(new)
        lines.append(f"{name}: {was} → {now}" if was != "added" else f"{name}: added, {now}")
    return lines


def _value(value: Any) -> str:
    """Return the value of a parameter as params.yaml has it.

    >>> _value(None), _value("2013-03"), _value([1, True])
    ('null', '2013-03', '[1, true]')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def size(value: float | None) -> str:
    """Return bytes as people read them.

    >>> size(999), size(2_500_000), size(None)
    ('999 B', '2.5 MB', '–')
    """
    if value is None:
        return "–"
    if value < 1000:
        return f"{value:.0f} B"
    return f"{value / 1e3:,.1f} kB" if value < 1e6 else f"{value / 1e6:,.1f} MB"


def render_diff(console: "Console", found: "DataDiff", in_full: bool) -> None:
    """Show what differs between two versions; ``in_full`` with the columns that are the same."""
    console.print(f"{found.before[:SHORT_ID]} → {found.after[:SHORT_ID]}: {found.unchanged} unchanged")
    table = Listing("", "path", "size", "rows", "added", "removed", "changed")
    for one in found.changes:
        rows = ["–"] * 4
        if one.table is not None:
            moved = "–" if one.table.changed is None else f"{one.table.changed:,}"
            was, now = one.table.rows_before, one.table.rows_after
            rows = [f"{was:,}\n→ {now:,}", f"{one.table.added:,}", f"{one.table.removed:,}", moved]
        sizes = f"{size(one.size_before)}\n→ {size(one.size_after)}"
        table.add_row({"added": "+", "removed": "-"}.get(one.change, "~"), one.path, sizes, *rows)
    if found.changes:
        console.print(table)
    for one in found.changes:
        _render_details(console, one, in_full)


def _render_details(console: "Console", one: "FileDiff", in_full: bool) -> None:
    """Show the details that do not fit in the table of changes."""
    if one.note:
        console.print(f"{one.path}: {one.note}")
    if one.files:
        signs = {"added": "+", "removed": "-", "changed": "~"}
        lines = [f"  {signs[change]} {file}" for file, change in one.files]
        console.print("\n".join(lines if in_full else first_lines(lines)))
    if one.table is None:
        return
    if one.table.key:
        console.print(f"{one.path}: rows are the same if they agree in {', '.join(one.table.key)}")
    table = Listing("column", *_SHOWN, title=one.path)
    for column in one.table.columns:
        was, now = column.before, column.after
        if not in_full and column.change == "same" and was == now:
            continue
        sign = {"added": "+ ", "removed": "- "}.get(column.change, "")
        cells = [_pair(was and getattr(was, name), now and getattr(now, name)) for name in _MEASURES]
        table.add_row(sign + column.name, *cells)
    if table.row_count:
        console.print(table)


def _pair(was: object, now: object) -> str:
    one, other = _cell(was), _cell(now)
    return one if one == other else f"{one}\n→ {other}"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.5g}"
    return f"{value:,}" if isinstance(value, int) else _readable(str(value))


def _readable(text: str) -> str:
    """Shorten what Polars calls a moment's type, and a moment itself, to the second.

    >>> _readable("Datetime(time_unit='us', time_zone='UTC')"), _readable("2013-01-01T08:15:00+00:00")
    ('Datetime[us, UTC]', '2013-01-01 08:15:00')
    """
    return _MOMENT.sub(r"\1 \2", _ZONED.sub(r"Datetime[\1, \2]", text))


def statistics_table(path: str, stats: "Iterable[ColumnStats]") -> Listing:
    """Return the statistics of a table, a line a column."""
    table = Listing("column", *_SHOWN, title=path)
    for column in stats:
        table.add_row(column.name, *(_cell(getattr(column, name)) for name in _MEASURES))
    return table


def validation_table(report: "Mapping[str, Any]") -> Listing:
    """Return the report of stage validate, a line a data set."""
    table = Listing("validated", "rows", "accepted", "rejected", "broken rules")
    for name, found in report.items():
        if not isinstance(found, dict):
            continue
        accepted = found.get("accepted", found.get("clean"))
        broken = found.get("broken") or {}
        rules = (
            ", ".join(f"{rule}: {count}" for rule, count in broken.items())
            if isinstance(broken, dict)
            else ""
        )
        table.add_row(
            name, _cell(found.get("rows")), _cell(accepted), _cell(found.get("rejected")), rules or "–"
        )
    return table
