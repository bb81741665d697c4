"""The fleet: every model of every project that the visitor may see, the one that needs somebody first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import FastAPI

from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import fleet_records
from tidemill.dashboard.visit import Here, Visit
from tidemill.dashboard.watched.metric_words import Figure, estimated_figure, measured_figure
from tidemill.dashboard.watched.next_times import Upcoming, next_of
from tidemill.dashboard.watched.risks import RISKS, Risk, risk_of
from tidemill.plurals import counted
from tidemill.state.record_reader import Records, Row

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
    known = _read(visit.records, [one.model for one in visit.projects])
    found = [_glance(visit, one, known) for one in visit.projects]
    return Fleet(sorted(found, key=lambda one: (RISKS.index(one.risk.word), one.project, one.model)))


@dataclass(frozen=True)
class _Known:
    """The records of all models, by model."""

    runs: Mapping[str, Sequence[Row]]
    moves: Mapping[str, Row]
    alerts: Mapping[str, Sequence[Row]]
    severities: Mapping[str, Mapping[str, int]]
    replicas: Mapping[str, Sequence[Row]]
    """Of those alive last: of each model together."""
    counts: Sequence[Row]


def _read(records: Records, models: Sequence[str]) -> _Known:
    replicas = {
        model: [one for one in found if one.seen_at > found[0].seen_at - _ALIVE]
        for model, found in fleet_records.replicas_by_model(records, models).items()
    }
    alerts = fleet_records.open_alerts_by_model(records, models)
    return _Known(
        runs=fleet_records.last_runs(records, models),
        moves=fleet_records.champion_moves(records, models),
        alerts=alerts,
        severities=fleet_records.severities(records, models) if alerts else {},
        replicas=replicas,
        counts=fleet_records.replica_counts(records, [one.id for each in replicas.values() for one in each]),
    )


def _glance(visit: Visit, shown: ShownProject, known: _Known) -> FleetModel:
    model, runs = shown.model, known.runs.get(shown.model, ())
    move = known.moves.get(model)
    version = None if move is None else move.to_version
    verdicts = {run.verdict for run in runs}
    latest = sorted(runs, key=lambda run: run.at, reverse=True)
    return FleetModel(
        project=shown.name,
        model=model,
        href=address_of("models", model),
        risk=_risk(known, model, version),
        version=version,
        since=None if move is None else move.at,
        traffic=_traffic(known, model, visit.now),
        verdict=next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None),
        checked_at=latest[0].at if latest else None,
        quality=next((found for run in latest if (found := measured_figure(run))), None),
        estimate=next((found for run in latest if (found := estimated_figure(run))), None),
        alerts=known.severities.get(model, {}),
        next=next_of(shown.root, {run.monitor: run.at for run in runs}, visit.now),
    )


def _risk(known: _Known, model: str, version: str | None) -> Risk:
    alerts, many = known.alerts.get(model, ()), sum(known.severities.get(model, {}).values())
    if many and not alerts:  # there are so many that those of this model were not read
        return Risk("at risk", f"{counted(many, 'open alert')}")
    return risk_of(version, known.runs.get(model, ()), alerts)


def _traffic(known: _Known, model: str, now: datetime) -> Traffic | None:
    """Return the counts of the replicas that are alive, or else of those that were alive last."""
    replicas = known.replicas.get(model)
    if not replicas:
        return None
    names, last = {one.id for one in replicas}, replicas[0].seen_at
    counts = [one for one in known.counts if one.model == model and one.replica in names]
    return Traffic(
        len(replicas),
        last > now - _ALIVE,
        last,
        sum(one.answered for one in counts),
        sum(one.failed for one in counts),
    )


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(app, "/", fleet, template="fleet.html", needs=("read", "model"), title="Fleet", shared=True)
