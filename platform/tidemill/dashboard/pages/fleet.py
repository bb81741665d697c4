"""The fleet: every model of every project that the visitor may see, the one that needs somebody first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import FastAPI

from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import watch_records
from tidemill.dashboard.visit import Here, Visit
from tidemill.dashboard.watched.metric_words import Figure, estimated_figure, measured_figure
from tidemill.dashboard.watched.next_times import Upcoming, next_of
from tidemill.dashboard.watched.risks import RISKS, Risk, risk_of
from tidemill.state import record_queries

__all__ = ["Fleet", "FleetModel", "Traffic", "add_to", "fleet"]

_ALIVE = timedelta(seconds=20)
"""As in `tidemill.serving.routing.replicas`."""
_WORST_FIRST = ("alert", "failed", "missed", "too_few", "ok")


@dataclass(frozen=True)
class Traffic:
    """What the latest replicas have counted since they started."""

    replicas: int
    alive: bool
    """Whether they have shown themselves lately; else they have ended."""
    seen_at: datetime
    """Wall-clock time at which one was last seen."""
    answered: int
    """Rows."""
    failed: int

    @property
    def error_share(self) -> float:
        """Return the share of rows that failed."""
        asked = self.answered + self.failed
        return self.failed / asked if asked else 0.0


@dataclass(frozen=True)
class FleetModel:
    """One model at a glance."""

    project: str
    model: str
    href: str
    risk: Risk
    version: str | None
    """The champion; None while there is none."""
    since: datetime | None
    """Event time of its promotion."""
    traffic: Traffic | None
    verdict: str | None
    """The worst among the last run of each monitor."""
    checked_at: datetime | None
    """Event time of the latest of those runs."""
    quality: Figure | None
    estimate: Figure | None
    alerts: Mapping[str, int]
    """Those that are not resolved, by severity."""
    next: Upcoming | None


@dataclass(frozen=True)
class Fleet:
    """All models, the one at the greatest risk first."""

    models: Sequence[FleetModel]


def fleet(visit: Here) -> Fleet:
    """Return every model that the visitor may see."""
    found = [_glance(visit, one) for one in visit.projects]
    return Fleet(sorted(found, key=lambda one: (RISKS.index(one.risk.word), one.project, one.model)))


def _glance(visit: Visit, shown: ShownProject) -> FleetModel:
    records, model = visit.records, shown.model
    runs = record_queries.last_monitor_runs(records, model)
    alerts = watch_records.open_alerts(records, model)
    move = watch_records.champion_move(records, model)
    version = None if move is None else move.to_version
    verdicts = {run.verdict for run in runs}
    latest = sorted(runs, key=lambda run: run.at, reverse=True)
    return FleetModel(
        project=shown.name,
        model=model,
        href=address_of("models", model),
        risk=risk_of(version, runs, alerts),
        version=version,
        since=None if move is None else move.at,
        traffic=_traffic(visit, model),
        verdict=next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None),
        checked_at=latest[0].at if latest else None,
        quality=next((found for run in latest if (found := measured_figure(run))), None),
        estimate=next((found for run in latest if (found := estimated_figure(run))), None),
        alerts=watch_records.severities(records, model) if alerts else {},
        next=next_of(shown.root, {run.monitor: run.at for run in runs}, visit.now),
    )


def _traffic(visit: Visit, model: str) -> Traffic | None:
    """Return the counts of the replicas that are alive, or else of those that were alive last."""
    replicas: list[Any] = watch_records.latest_replicas(visit.records, model)
    if not replicas:
        return None
    last = replicas[0].seen_at
    together = [one.id for one in replicas if one.seen_at > last - _ALIVE]
    counts = watch_records.counts_of_replicas(visit.records, model, together)
    return Traffic(
        len(together),
        last > visit.now - _ALIVE,
        last,
        sum(one["answered"] for one in counts),
        sum(one["failed"] for one in counts),
    )


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(app, "/", fleet, template="fleet.html", needs=("read", "model"), title="Fleet")
