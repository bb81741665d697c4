"""Says after a turn which rows it left out: those that validation set aside, and those that were too late."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidemill.cli.output import format_moment
from tidemill.plurals import counted

if TYPE_CHECKING:
    from tidemill.project import Project

__all__ = ["read_later", "read_set_aside", "said_later", "said_set_aside", "said_unplayed"]

_REASONS = 3
"""Reasons that are named, the most frequent first."""


def read_set_aside(project: "Project", revision: str | None) -> dict[str, dict[str, Any]]:
    """Return data set → what a data version's validation set aside; without those where it was nothing."""
    from tidemill.data.expectations.declarations import EXPECTATIONS, declared_sets
    from tidemill.data.versioning.committed_report import committed_report

    if revision is None or not (project.root / EXPECTATIONS).is_file():
        return {}
    declared = declared_sets(project)
    report = committed_report(project.root, revision, declared.report) or {}
    found = {}
    for name, rules in declared.datasets.items():
        of = report.get(name) or {}
        if of.get("rejected"):
            found[name] = {key: of[key] for key in ("rejected", "rows", "broken")} | {"file": rules.rejected}
    return found


def said_set_aside(name: str, found: Mapping[str, Any]) -> str:
    """Say what was set aside of a data set, in a line.

    >>> broken = {"age: in_range(0, 9)": 4, "plan: not_null": 7}
    >>> said_set_aside("table", {"rejected": 10, "rows": 400, "broken": broken, "file": "data/bad.parquet"})
    '! table: 10 of 400 rows set aside: plan: not_null (7), age: in_range(0, 9) (4) · data/bad.parquet'
    """
    from tidemill.data.validation.row_reasons import told_rule

    most = sorted(found["broken"].items(), key=lambda one: -one[1])
    reasons = ", ".join(f"{told_rule(rule)} ({rows:,})" for rule, rows in most[:_REASONS])
    more = f", {len(most) - _REASONS} more reasons" if len(most) > _REASONS else ""
    place = f" · {found['file']}" if found["file"] else ""
    rows = f"{found['rejected']:,} of {counted(found['rows'], 'row')}"
    return f"! {name}: {rows} set aside: {reasons}{more}{place}"


def read_later(project: "Project") -> int:
    """Return how many rows the stage of the training set left out because they were later than the turn."""
    from polars import read_parquet_metadata

    from tidemill.stages.training_set import LATER_ROWS

    path = project.dataset_path
    return int(read_parquet_metadata(path).get(LATER_ROWS, 0)) if path.is_file() else 0


def said_later(rows: int, moment: datetime, label_known: str | None) -> str:
    """Say how many rows were later than a turn.

    >>> from datetime import UTC
    >>> said_later(40, datetime(2026, 11, 29, 15, 8, tzinfo=UTC), None)
    '! 40 rows are later than 2026-11-29 15:08 UTC and were left out: --as-of'
    >>> said_later(1, datetime(2026, 11, 29, 15, 8, tzinfo=UTC), "label_known_at")
    '! the label of 1 row is known later than 2026-11-29 15:08 UTC, and it was left out: --as-of'
    """
    at, one = f"{format_moment(moment)} UTC", rows == 1
    if label_known is None:
        verb, left = ("is", "was") if one else ("are", "were")
        return f"! {counted(rows, 'row')} {verb} later than {at} and {left} left out: --as-of"
    left = "it was" if one else "they were"
    return f"! the label of {counted(rows, 'row')} is known later than {at}, and {left} left out: --as-of"


def said_unplayed(rows: int, moment: datetime) -> str:
    """Say that a play of the past ended before the table does.

    >>> from datetime import UTC
    >>> said_unplayed(1, datetime(2026, 11, 29, 15, 8, tzinfo=UTC))
    '! 1 row is known later than 2026-11-29 15:08 UTC, the moment of the training set, and was not played: \
`tidemill run` makes a training set of all that is known now'
    """
    verb, left = ("is", "was") if rows == 1 else ("are", "were")
    return (
        f"! {counted(rows, 'row')} {verb} known later than {format_moment(moment)} UTC, "
        f"the moment of the training set, and {left} not played: `tidemill run` makes a training set of all "
        "that is known now"
    )
