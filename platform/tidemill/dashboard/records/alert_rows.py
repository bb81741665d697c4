"""Reads alerts for lists, each with what a list shows, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.errors import AlertNotFound
from tidemill.state.record_reader import Records, Row

__all__ = [
    "OPEN",
    "AlertFilter",
    "ListedAlert",
    "alert_page",
    "listed",
    "open_alerts",
    "own_alert",
    "severities",
    "worst_alert",
]

OPEN = ("pending", "firing", "acknowledged")
_MOST = 1000


@dataclass(frozen=True)
class ListedAlert:
    """An alert as a list shows it."""

    id: str
    model: str
    status: str
    severity: str
    kind: str
    monitor: str
    version: str
    message: str
    raised_at: datetime
    fired_at: datetime | None
    last_seen_at: datetime
    resolved_at: datetime | None
    acknowledged_by: str | None
    """Who has it."""


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts a list has."""

    statuses: Sequence[str] = ()
    """None: all."""
    severity: str = ""
    kind: str = ""


def alert_page(
    records: Records, models: Sequence[str], chosen: AlertFilter, number: int
) -> tuple[list[ListedAlert], Part]:
    """Return one page of the alerts of some models, the latest first.

    Raises:
        UsageError: the list has no such page.
    """
    where, values = f"model IN ({_marks(models)})", [*models]
    if chosen.statuses:
        where += f" AND status IN ({_marks(chosen.statuses)})"
        values += chosen.statuses
    for column, value in (("severity", chosen.severity), ("kind", chosen.kind)):
        if value:
            where += f" AND {column} = ?"
            values.append(value)
    order = "raised_at DESC, id DESC"
    rows, part = read_part(records, "alerts", where, *values, order=order, number=number)
    return [listed(row) for row in rows], part


def listed(row: Row) -> ListedAlert:
    """Return a record of an alert as a list shows it."""
    return ListedAlert(**{name: getattr(row, name) for name in ListedAlert.__dataclass_fields__})


def severities(records: Records, models: Sequence[str]) -> dict[str, int]:
    """Return how many alerts that are not resolved there are of each severity."""
    of = f"model IN ({_marks(models)}) AND status IN ({_marks(OPEN)})"
    return records.counts("alerts", "severity", of, *models, *OPEN)


def open_alerts(records: Records, model: str) -> list[Row]:
    """Return the alerts of a model that are not resolved, the latest first; 1,000 at most."""
    of, order = "model = ? AND status = ?", "raised_at DESC, id DESC"
    # One status after the other: of several together SQLite would read the resolved ones, too.
    found = [
        row
        for status in OPEN
        for row in records.select("alerts", of, model, status, order=order, limit=_MOST)
    ]
    return sorted(found, key=lambda row: (row.raised_at, row.id), reverse=True)[:_MOST]


def worst_alert(records: Records, model: str) -> ListedAlert | None:
    """Return the most severe alert of a model that is not resolved, the latest of those; None without any."""
    found = open_alerts(records, model)
    severe = [row for row in found if row.severity == "critical"] or found
    return listed(severe[0]) if severe else None


def own_alert(records: Records, model: str, alert_id: str) -> Row:
    """Return an alert of a model.

    Raises:
        AlertNotFound: there is none of that id, or it is another model's.
    """
    found = records.select("alerts", "id = ? AND model = ?", alert_id, model)
    if not found:
        raise AlertNotFound(
            f"{model} has no alert {alert_id!r}", hint="the list of its alerts has those there are"
        )
    return found[0]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values)) or "NULL"
