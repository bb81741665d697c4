"""The fleet: every model of every project that the visitor may see, the one that needs somebody first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI

from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.visit import Here, Visit
from tidemill.state import record_queries

__all__ = ["Fleet", "FleetModel", "add_to", "fleet"]


@dataclass(frozen=True)
class FleetModel:
    """One model at a glance."""

    project: str
    model: str
    version: str | None
    """The champion; None while there is none."""
    alerts: int
    """Those that are not resolved."""
    verdict: str | None
    """The worst among the last run of each monitor."""
    checked_at: datetime | None
    """Event time of the latest of those runs."""


@dataclass(frozen=True)
class Fleet:
    """All models."""

    models: Sequence[FleetModel]


_WORST_FIRST = ("alert", "failed", "missed", "too_few", "ok")


def fleet(visit: Here) -> Fleet:
    """Return every model that the visitor may see."""
    found = [_glance(visit, one) for one in visit.projects]
    return Fleet(sorted(found, key=lambda one: (-one.alerts, one.project, one.model)))


def _glance(visit: Visit, shown: ShownProject) -> FleetModel:
    records, model = visit.records, shown.model
    runs = record_queries.last_monitor_runs(records, model)
    moves = record_queries.moves(records, model)
    verdicts = {run.verdict for run in runs}
    return FleetModel(
        shown.name,
        model,
        moves[-1][0].to_version if moves else None,
        len(record_queries.alerts(records, model, include_resolved=False)),
        next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None),
        max((run.at for run in runs), default=None),
    )


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(app, "/", fleet, template="fleet.html", needs=("read", "model"), title="Fleet")
