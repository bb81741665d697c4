"""One alert: its evidence, what was said and sent about it, and what the loop did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from markupsafe import Markup

from tidemill.alerting.alert_evidence import describe
from tidemill.alerting.alert_pictures import bins_then_and_now, figure_over_runs
from tidemill.alerting.alert_routing import explain
from tidemill.alerting.routes import load_routes
from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.alert_rows import ListedAlert, listed, open_alerts, own_alert
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import ConfigError
from tidemill.state import alert_queries

if TYPE_CHECKING:
    from tidemill.state.record_reader import Row

__all__ = ["Answer", "OneAlert", "Routing", "add_to", "one_alert"]


@dataclass(frozen=True)
class Routing:
    """Who is told about an alert, and why nobody is."""

    receivers: Sequence[str]
    withheld: str | None
    """Why nothing is sent now; None if nothing stops a message."""
    unknown: str | None
    """Why the routes cannot be read; None if they can."""


@dataclass(frozen=True)
class Answer:
    """What a policy decided about an alert."""

    policy: str
    verdict: str
    reason: str
    turn_id: str | None
    first_at: datetime
    last_at: datetime
    rounds: int


@dataclass(frozen=True)
class OneAlert:
    """An alert, and all that explains it."""

    alert: ListedAlert
    evidence: Mapping[str, Any]
    """What `tidemill.alerting.alert_evidence.describe` gives."""
    labels: Mapping[str, str]
    """By which silences and routes know it."""
    routing: Routing
    answers: Sequence[Answer]
    turn: str | None
    """The turn that the loop makes because of it right now."""
    champion: str | None
    run_id: str
    """The monitor run that found it last: its window has a page."""

    @property
    def pictures(self) -> Sequence[tuple[str, Markup]]:
        """Title and picture: the figure over the last runs, and features then and now."""
        found, kind = [], self.alert.kind.replace("_", " ")
        if len(self.history) > 1:
            values, limits = (
                [each["value"] for each in self.history],
                [each["limit"] for each in self.history],
            )
            title = f"{kind} in the last {len(values)} runs; dashed: the limit"
            found.append((title, Markup(figure_over_runs(values, limits, title))))
        for name, bins in self.evidence["histograms"].items():
            title = f"{name}: outline as in training, filled in this window"
            drawn = bins_then_and_now(bins["before"], bins["now"], bins["bins"], title)
            found.append((title, Markup(drawn)))
        return found

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """The runs whose figure is known."""
        return [each for each in self.evidence["history"] if each["value"] is not None]


def one_alert(visit: Here, model: str, alert_id: str) -> OneAlert:
    """Return an alert with its evidence."""
    shown = visit.project(model)
    own_alert(visit.records, model, alert_id)
    found = alert_queries.alert_records(visit.records, model, alert_id)
    facts = describe(found)
    facts["labels"] = dict(facts["labels"])
    routed = _routed(visit, shown, found)
    labels = routed.pop("labels")
    running = visit.records.select("turns", "model = ? AND status = 'running'", model, limit=1)
    last = visit.records.select(
        "promotions", "model = ? AND status = 'done'", model, order="requested_at DESC, id DESC", limit=1
    )
    names = "policy", "verdict", "reason", "turn_id", "first_at", "last_at", "rounds"
    return OneAlert(
        listed(found.alert),
        facts,
        labels,
        Routing(**routed),
        [Answer(**{name: getattr(row, name) for name in names}) for row in found.decisions],
        next((row.id for row in running if row.alert_id == alert_id), None),
        last[0].to_version if last else None,
        found.last_run.id,
    )


def _routed(visit: Visit, shown: ShownProject, found: alert_queries.AlertRecords) -> dict[str, Any]:
    """Return an alert's labels and who is told about it; the routes stand in a file of the project."""
    records, unknown, routes = visit.records, None, None
    try:
        routes = load_routes(visit.installation.load(shown))
    except ConfigError as error:
        unknown = str(error)
    others: Sequence[Row] = open_alerts(records, shown.model)
    silenced = alert_queries.silences(records, shown.model, visit.now, ended=False)
    times = alert_queries.times_fired(records, found.alert)
    facts = explain(found.alert, others, silenced, (), routes, visit.now, times)
    return {
        "labels": facts["labels"],
        "receivers": facts["receivers"],
        "withheld": None if unknown else facts["withheld"],
        "unknown": unknown,
    }


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}/alerts/{alert_id}",
        one_alert,
        template="alerts/one.html",
        needs=("read", "alert"),
        title="Alert",
        shared=True,
    )
