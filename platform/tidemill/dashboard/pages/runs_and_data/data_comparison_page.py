"""Two data versions compared: files, rows of tables, columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Query

from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.data_reading import read_comparison
from tidemill.dashboard.visit import Here

__all__ = ["COMMIT_NAMES", "DataComparison", "add_to", "compare_data"]

COMMIT_NAMES = r"^[0-9A-Za-z][\w./~^-]{0,99}$"
"""What may name a commit."""


@dataclass(frozen=True)
class ColumnChange:
    """A column of a table in both versions."""

    name: str
    change: str
    types: str
    nulls: str
    distinct: str
    mean: str


@dataclass(frozen=True)
class FileChange:
    """A file or folder that differs."""

    path: str
    change: str
    size_before: int | None
    size_after: int | None
    rows_before: int | None
    rows_after: int | None
    rows_added: int | None
    rows_removed: int | None
    rows_changed: int | None
    key: Sequence[str]
    columns: Sequence[ColumnChange]
    """Those that differ in type, nulls, distinct values or mean."""
    note: str | None


@dataclass(frozen=True)
class DataComparison:
    """What changed from one data version to another."""

    model: str
    before: str
    after: str
    changes: Sequence[FileChange]
    unchanged: int


def compare_data(
    visit: Here,
    model: str,
    before: Annotated[str, Query(pattern=COMMIT_NAMES, description="Anything that names a commit.")],
    after: Annotated[str, Query(pattern=COMMIT_NAMES, description="Likewise.")] = "HEAD",
) -> DataComparison:
    """Return what changed from one data version to another: files, rows of tables, columns."""
    project = visit.installation.load(visit.project(model))
    found = read_comparison(project, before, after)
    return DataComparison(
        model, found.before, found.after, [_change(one) for one in found.changes], found.unchanged
    )


def _change(found: Any) -> FileChange:
    table = found.table
    columns = [_column(one) for one in table.columns] if table else []
    return FileChange(
        found.path,
        found.change,
        found.size_before,
        found.size_after,
        table.rows_before if table else None,
        table.rows_after if table else None,
        table.added if table else None,
        table.removed if table else None,
        table.changed if table else None,
        list(table.key) if table else [],
        [one for one in columns if one is not None],
        found.note,
    )


def _column(found: Any) -> ColumnChange | None:
    """Return a column that differs; least and greatest values are left out, which may be somebody's."""
    was, now = found.before, found.after

    def both(name: str) -> str:
        old, new = (None if side is None else getattr(side, name) for side in (was, now))
        return _said(old) if old == new else f"{_said(old)} → {_said(new)}"

    if was is not None and now is not None and found.change == "same":
        alike = all(getattr(was, name) == getattr(now, name) for name in ("nulls", "distinct", "mean"))
        if alike:
            return None
    return ColumnChange(
        found.name, found.change, both("dtype"), both("nulls"), both("distinct"), both("mean")
    )


def _said(value: Any) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.5g}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def add_to(app: FastAPI) -> None:
    """Add the page; before that of one version, whose address its own is like."""
    path = "/models/{model}/data/compare"
    add_page(
        app,
        path,
        compare_data,
        template="data_comparison.html",
        needs=("read", "data"),
        title="Data compared",
    )
