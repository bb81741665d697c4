"""The data versions of a project: the list, one with its validation and bias reports, and two compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query

from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.data_reading import read_comparison, read_log, read_version
from tidemill.dashboard.visit import Here

__all__ = [
    "DataComparison",
    "DataVersion",
    "DataVersions",
    "add_to",
    "compare_data",
    "data_version",
    "data_versions",
]

_SIZE = 20
_NAMES = r"^[0-9A-Za-z][\w./~^-]{0,99}$"
Revision = Annotated[str, Path(pattern=_NAMES, description="Anything that names a commit.")]


@dataclass(frozen=True)
class ChangedParam:
    """A parameter that differs from the version before."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ListedData:
    """A data version in the list."""

    revision: str
    time: datetime
    message: str
    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]
    params: Sequence[ChangedParam]
    models: Sequence[str]
    """Versions of models that were trained on it."""
    before: str | None
    """The version before it."""


@dataclass(frozen=True)
class DataVersions:
    """A page of the data versions, the latest first."""

    model: str
    versions: Sequence[ListedData]
    number: int
    more: bool
    """Whether there are earlier ones."""
    trouble: str | None
    """Why it is not known what was trained on them."""


@dataclass(frozen=True)
class DataFile:
    """A file or folder of a data version."""

    path: str
    md5: str
    size: int | None
    files: int | None
    rows: int | None
    columns: Sequence[str]


@dataclass(frozen=True)
class Check:
    """A check of the validation."""

    check: str
    outcome: str
    failing: int
    detail: str


@dataclass(frozen=True)
class Group:
    """A group of rows and its rate of label 1."""

    group: str
    rows: int
    rate: float | None
    low: float | None
    high: float | None
    ratio: float | None
    """Its rate divided by that of all other rows."""
    verdict: str


@dataclass(frozen=True)
class GroupedBy:
    """The groups of one column."""

    column: str
    groups: Sequence[Group]


@dataclass(frozen=True)
class Validated:
    """The validation of one data set."""

    name: str
    mode: str
    passed: bool
    source: str
    rows: int
    accepted: int
    rejected: int
    broken: Mapping[str, int]
    """Reason → rows that are set aside for it, or would be."""
    failed: Sequence[Check]
    """Checks that did not pass."""
    passed_checks: int
    label: str | None
    """What the groups are compared by; None without a bias report."""
    bias: Sequence[GroupedBy]


@dataclass(frozen=True)
class DataVersion:
    """One data version."""

    model: str
    revision: str
    time: datetime
    message: str
    files: Sequence[DataFile]
    validation: Sequence[Validated]


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


def data_versions(visit: Here, model: str, page: PageNumber = 1) -> DataVersions:
    """Return a page of the data versions of a model's project."""
    project = visit.installation.load(visit.project(model))
    entries, trouble = read_log(project, min(page, 500) * _SIZE + 1)
    begin = (page - 1) * _SIZE
    listed = [
        ListedData(
            one.revision,
            one.time,
            one.message,
            list(one.added),
            list(one.removed),
            list(one.changed),
            [ChangedParam(name, str(old), str(new)) for name, (old, new) in one.params.items()],
            list(one.models),
            entries[place + 1].revision if place + 1 < len(entries) else None,
        )
        for place, one in list(enumerate(entries))[begin : begin + _SIZE]
    ]
    return DataVersions(model, listed, page, len(entries) > begin + _SIZE, trouble)


def data_version(visit: Here, model: str, revision: Revision) -> DataVersion:
    """Return a data version with its validation report."""
    project = visit.installation.load(visit.project(model))
    shown = read_version(project, revision)
    return DataVersion(
        model,
        shown.revision,
        shown.time,
        shown.message,
        [
            DataFile(one.path, one.md5, one.size, one.files, one.rows, [*(one.schema or {})])
            for one in shown.outputs
        ],
        [
            _validated(name, found)
            for name, found in (shown.validation or {}).items()
            if isinstance(found, Mapping)
        ],
    )


def _validated(name: str, found: Mapping[str, Any]) -> Validated:
    checks = [one for one in found.get("checks", ()) if isinstance(one, Mapping)]
    failed = [one for one in checks if one.get("outcome") not in ("passed", "skipped")]
    bias = found.get("bias") or {}
    return Validated(
        name,
        str(found.get("mode", "")),
        bool(found.get("passed")),
        str(found.get("source", "")),
        int(found.get("rows", 0)),
        int(found.get("accepted", 0)),
        int(found.get("rejected", 0)),
        {str(reason): int(rows) for reason, rows in (found.get("broken") or {}).items()},
        [
            Check(
                str(one.get("check")),
                str(one.get("outcome")),
                int(one.get("failing", 0)),
                str(one.get("detail", "")),
            )
            for one in failed
        ],
        sum(one.get("outcome") == "passed" for one in checks),
        bias.get("label"),
        [GroupedBy(column, [_group(one) for one in of]) for column, of in (bias.get("groups") or {}).items()],
    )


def _group(found: Mapping[str, Any]) -> Group:
    rate, ratio = found.get("rate") or {}, found.get("ratio") or {}
    return Group(
        str(found.get("group")),
        int(found.get("rows", 0)),
        rate.get("value"),
        rate.get("low"),
        rate.get("high"),
        ratio.get("value"),
        str(found.get("verdict", "")),
    )


def compare_data(
    visit: Here,
    model: str,
    before: Annotated[str, Query(pattern=_NAMES, description="Anything that names a commit.")],
    after: Annotated[str, Query(pattern=_NAMES, description="Likewise.")] = "HEAD",
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
    """Add the pages."""
    read, of = ("read", "data"), "/models/{model}/data"
    add_page(app, of, data_versions, template="data_versions.html", needs=read, title="Data versions")
    add_page(
        app, f"{of}/compare", compare_data, template="data_comparison.html", needs=read, title="Data compared"
    )
    add_page(
        app,
        f"{of}/{{revision}}",
        data_version,
        template="data_version.html",
        needs=read,
        title="Data version",
    )
