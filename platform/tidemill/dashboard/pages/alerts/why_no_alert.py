"""Why nothing fired: what each monitor last measured beside its limits, and what keeps an alert quiet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import FastAPI

from tidemill.alerting.alert_routing import explain
from tidemill.alerting.routes import Routes, load_routes
from tidemill.dashboard.installation import ShownProject
from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.alert_rows import open_alerts
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import TidemillError
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.monitoring.noise_feedback import marks_of, proposals_of
from tidemill.monitoring.run_explanation import explain_run
from tidemill.plurals import said_days
from tidemill.state import alert_queries, record_queries
from tidemill.state.record_reader import Row

__all__ = ["MonitorSaid", "QuietAlert", "Said", "WhyNoAlert", "add_to", "why_no_alert"]

_QUIET = 10


@dataclass(frozen=True)
class Said:
    """What a run said of one kind of alert."""

    kind: str
    said: str
    state: Literal["ok", "alert", "too_few", "not_judged", "failed"]


@dataclass(frozen=True)
class MonitorSaid:
    """What a monitor's last run measured."""

    monitor: str
    run_id: str | None
    """None: it has never run."""
    verdict: str
    version: str | None
    at: datetime | None
    window_start: datetime | None
    window_end: datetime | None
    rows: int
    labelled: int
    kinds: Sequence[Said]
    notes: Sequence[str]
    """What alerts marked as noise propose, and what is wrong in the declaration."""
    missed: str | None
    """Since when it should have run, or that it is declared no more; None if it is in time."""


@dataclass(frozen=True)
class QuietAlert:
    """An alert that is open, and about which nothing is sent now."""

    id: str
    kind: str
    monitor: str
    status: str
    message: str
    why: str


@dataclass(frozen=True)
class WhyNoAlert:
    """All that may keep an alert from being raised, or from being told."""

    model: str
    monitors: Sequence[MonitorSaid]
    quiet: Sequence[QuietAlert]
    silences: int
    """How many are in force."""
    problem: str | None
    """Why the project's declarations cannot be read: without them nobody knows who is missing."""


def why_no_alert(visit: Here, model: str) -> WhyNoAlert:
    """Return what each monitor last measured, and which alerts nobody is told about."""
    shown = visit.project(model)
    declared: Sequence[Monitor] = ()
    routes, problem = None, None
    try:
        project = visit.installation.load(shown)
        declared, routes = load_monitors(project), load_routes(project)
    except TidemillError as error:
        problem = str(error)
    runs = record_queries.last_monitor_runs(visit.records, model)
    known = {monitor.name: monitor for monitor in declared}
    found = [_monitor(visit, model, run, known.get(run.monitor), sure=problem is None) for run in runs]
    ran = {run.monitor for run in runs}
    found += [_never(name) for name in known if name not in ran]
    silences = alert_queries.silences(visit.records, model, visit.now, ended=False)
    quiet = [] if problem else _quiet(visit, shown, routes, silences)
    return WhyNoAlert(model, found, quiet, len(silences), problem)


def _monitor(visit: Visit, model: str, run: Row, declared: Monitor | None, *, sure: bool) -> MonitorSaid:
    said = explain_run(run.verdict, run.rows, run.results)
    marks = alert_queries.noise_marks(visit.records, model, run.monitor)
    alarms = alert_queries.alarming_runs(visit.records, model, run.monitor, marks)
    notes = [each.said for each in proposals_of(marks_of(marks, alarms), run.results)]
    late = declared is not None and visit.now - run.at > 2 * declared.every
    since = (
        f"it is to run every {said_days(declared.every)}, and has not since" if declared and late else None
    )
    if sure and declared is None:
        since = "monitoring/monitors.yaml declares it no more: its last run was at"
    return MonitorSaid(
        run.monitor,
        run.id,
        run.verdict,
        run.version,
        run.at,
        run.window_start,
        run.window_end,
        run.rows,
        run.labelled,
        [_said(run.verdict, kind, text) for kind, text in said.items()],
        [*notes, *map(str, run.results.get("warnings", ()))],
        since,
    )


def _said(verdict: str, kind: str, text: str) -> Said:
    """Return what was said of a kind; the state is told beside it, not in it."""
    short = text.removeprefix("alert: ").removeprefix("not judged: ")
    return Said(kind, short, _state(verdict, text))


def _state(verdict: str, said: str) -> Literal["ok", "alert", "too_few", "not_judged", "failed"]:
    if verdict in ("failed", "missed"):
        return "failed"
    if verdict == "too_few":
        return "too_few"
    if said.startswith("not judged"):
        return "not_judged"
    return "alert" if said.startswith("alert") else "ok"


def _never(monitor: str) -> MonitorSaid:
    said = "it has never run: the controller runs it when a version serves, `tidemill monitor run` now"
    return MonitorSaid(monitor, None, "none", None, None, None, None, 0, 0, (), (), said)


def _quiet(
    visit: Visit, shown: ShownProject, routes: Routes | None, silences: Sequence[Row]
) -> Sequence[QuietAlert]:
    """Return those of the latest open alerts about which nothing is sent now, each with the reason."""
    alerts: Sequence[Row] = open_alerts(visit.records, shown.model)
    found = []
    for alert in alerts[:_QUIET]:
        times = 1 if routes is None else alert_queries.times_fired(visit.records, alert)
        facts: Mapping[str, str | None] = explain(alert, alerts, silences, (), routes, visit.now, times)
        if (why := facts["withheld"]) is not None:
            found.append(QuietAlert(alert.id, alert.kind, alert.monitor, alert.status, alert.message, why))
    return found


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}/why-no-alert",
        why_no_alert,
        template="alerts/why.html",
        needs=("read", "alert"),
        title="Why did nothing fire?",
    )
