"""One data version with its validation and bias reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Path

from tidemill.dashboard.page import add_page
from tidemill.dashboard.pages.runs_and_data.data_comparison_page import COMMIT_NAMES
from tidemill.dashboard.records.data_reading import read_version
from tidemill.dashboard.visit import Here

__all__ = ["DataVersion", "add_to", "data_version"]

Revision = Annotated[str, Path(pattern=COMMIT_NAMES, description="Anything that names a commit.")]


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


def add_to(app: FastAPI) -> None:
    """Add the page."""
    one = "/models/{model}/data/{revision}"
    add_page(
        app, one, data_version, template="data_version.html", needs=("read", "data"), title="Data version"
    )
