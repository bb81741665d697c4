"""Says after a turn which rows its validation set aside."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.project import Project

__all__ = ["read_set_aside", "said_set_aside"]

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
    most = sorted(found["broken"].items(), key=lambda one: -one[1])
    reasons = ", ".join(f"{rule} ({rows:,})" for rule, rows in most[:_REASONS])
    more = f", {len(most) - _REASONS} more reasons" if len(most) > _REASONS else ""
    place = f" · {found['file']}" if found["file"] else ""
    return f"! {name}: {found['rejected']:,} of {found['rows']:,} rows set aside: {reasons}{more}{place}"
