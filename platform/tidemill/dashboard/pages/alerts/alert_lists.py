"""The lists of alerts: of all models that the visitor may see, and of one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import FastAPI, Query

from tidemill.alerting.known_kinds import KINDS, SEVERITIES
from tidemill.dashboard.page import PageNumber, add_page
from tidemill.dashboard.records.alert_rows import OPEN, AlertFilter, ListedAlert, alert_page, severities
from tidemill.dashboard.records.fleet_records import champion_moves
from tidemill.dashboard.records.list_part import Part
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import UsageError

__all__ = ["AlertList", "add_to", "all_alerts", "model_alerts"]

State = Annotated[
    Literal["open", "pending", "firing", "acknowledged", "resolved", "all"],
    Query(description="Which alerts; open ones are those that are not resolved."),
]
Severity = Annotated[str, Query(max_length=20, description="Of these alone; empty: of all severities.")]
Kind = Annotated[str, Query(max_length=40, description="Of this kind alone; empty: of all kinds.")]


@dataclass(frozen=True)
class AlertList:
    """A page of a list of alerts."""

    model: str | None
    """None: of all models."""
    alerts: Sequence[ListedAlert]
    part: Part
    open: Mapping[str, int]
    """Severity → alerts that are not resolved."""
    state: str
    severity: str
    kind: str
    models: Sequence[str]
    """Those that can be chosen."""
    champions: Mapping[str, str]
    """Model → the version that serves, of those with alerts on the page."""
    kinds: Sequence[str] = KINDS
    severities: Sequence[str] = SEVERITIES


def all_alerts(
    visit: Here,
    state: State = "open",
    severity: Severity = "",
    kind: Kind = "",
    model: Annotated[str, Query(description="Of this model alone; empty: of all.")] = "",
    number: PageNumber = 1,
) -> AlertList:
    """Return the alerts of all models that the visitor may see, the latest first."""
    readable = [one.model for one in visit.projects if visit.may("read", "alert", one.model)]
    chosen = [visit.project(model).model] if model else readable
    return _list(
        visit, model or None, [one for one in chosen if one in readable], state, severity, kind, number
    )


def model_alerts(
    visit: Here,
    model: str,
    state: State = "open",
    severity: Severity = "",
    kind: Kind = "",
    number: PageNumber = 1,
) -> AlertList:
    """Return the alerts of a model, the latest first."""
    return _list(visit, model, [visit.project(model).model], state, severity, kind, number)


def _list(
    visit: Visit,
    model: str | None,
    models: Sequence[str],
    state: str,
    severity: str,
    kind: str,
    number: int,
) -> AlertList:
    for given, known in ((severity, SEVERITIES), (kind, KINDS)):
        if given and given not in known:
            raise UsageError(f"no alert is {given!r}", hint=f"there are: {', '.join(known)}")
    statuses = {"open": OPEN, "all": ()}.get(state, (state,))
    alerts, part = alert_page(visit.records, models, AlertFilter(statuses, severity, kind), number)
    others = [one.model for one in visit.projects]
    counts, moves = severities(visit.records, models), champion_moves(visit.records, _models_of(alerts))
    champions = {name: move.to_version for name, move in moves.items()}
    return AlertList(model, alerts, part, counts, state, severity, kind, others, champions)


def _models_of(alerts: Sequence[ListedAlert]) -> Sequence[str]:
    return sorted({one.model for one in alerts})


def add_to(app: FastAPI) -> None:
    """Add the pages."""
    needs = "read", "alert"
    add_page(
        app, "/alerts", all_alerts, template="alerts/list.html", needs=needs, title="Alerts", shared=True
    )
    path = "/models/{model}/alerts"
    add_page(
        app,
        path,
        model_alerts,
        template="alerts/list.html",
        needs=needs,
        title="Alerts of a model",
        shared=True,
    )
