"""``tidemill alerts``: what needs somebody's attention, and who gives it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.loop.alert_routes import add_to as add_routing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rich.console import Console

    from tidemill.state import State
    from tidemill.state.tables import Alert

__all__ = ["add_to"]

alerts_app = typer.Typer(no_args_is_help=True, help="See alerts, acknowledge, resolve and silence them.")
AlertId = Annotated[str, typer.Argument(help="Id of the alert, or its first characters.", show_default=False)]
Comment = Annotated[
    str | None, typer.Option("--comment", help="What others should know.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(alerts_app, name="alerts")
    add_routing(alerts_app)


@alerts_app.command("list", epilog="Example: tidemill alerts list --all")
def alerts_list(
    project: ProjectDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    json: AsJson = False,
) -> None:
    """Show the alerts that are not resolved."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import alert_queries, record_queries

    folder, records = open_reading(project)
    moved = record_queries.moves(records, folder.model)
    champion = moved[-1][0].to_version if moved else None
    alerts = alert_queries.alerts(records, folder.model, include_resolved=everything)
    facts = [
        {
            "id": a.id,
            "status": a.status,
            "severity": a.severity,
            "kind": a.kind,
            "monitor": a.monitor,
            "version": a.version,
            "serves": a.version == champion,
            "message": a.message,
            "raised_at": a.raised_at,
            "acknowledged_by": a.acknowledged_by,
        }
        for a in alerts
    ]

    def render(console: "Console") -> None:
        _render_alerts(console, alerts, shorten(records.ids("alerts", folder.model)), champion)

    emit(facts, json, render)


def _render_alerts(
    console: "Console", alerts: "Sequence[Any]", ids: "Mapping[str, str]", champion: str | None
) -> None:
    table = Listing("id", "status", "severity", "kind", "monitor", "version", "raised", "by", "message")
    for a in alerts:
        table.add_row(
            ids[a.id],
            a.status,
            a.severity,
            a.kind,
            a.monitor,
            _whether_it_serves(a, champion),
            format_moment(a.raised_at),
            a.acknowledged_by or "–",
            a.message,
        )
    console.print(table if alerts else "no alerts")


def _whether_it_serves(alert: Any, champion: str | None) -> str:
    """Return an alert's version, and whether another one is the champion by now, where the alert is open."""
    past = champion is not None and alert.status != "resolved" and alert.version != champion
    return f"{alert.version}, not the champion" if past else str(alert.version)


@alerts_app.command("show", epilog="Example: tidemill alerts show alert_01jd")
def alerts_show(
    alert: AlertId,
    project: ProjectDir = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with pictures there.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what an alert is about, what changed before it, and what to do next."""
    from tidemill.alerting.alert_evidence import describe
    from tidemill.cli.loop.alert_page import render_alert, write_page
    from tidemill.cli.reading import open_reading
    from tidemill.state.alert_queries import alert_records
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    identifier = full_id(records, "alerts", folder.model, alert)
    facts = describe(alert_records(records, folder.model, identifier))
    if html is not None:
        write_page(html, facts)

    def render(console: "Console") -> None:
        render_alert(console, facts)
        if html is not None:
            console.print(f"written: {html}", soft_wrap=True)

    emit(facts, json, render)


@alerts_app.command("ack", epilog="Example: tidemill alerts ack alert_01jd --comment 'the feed is late'")
def alerts_ack(
    alert: AlertId, project: ProjectDir = None, comment: Comment = None, json: AsJson = False
) -> None:
    """Acknowledge an alert: you have seen it and look after it."""
    from tidemill.alerting.alert_actions import acknowledge

    def act(state: "State", identifier: str, who: str, now: "datetime") -> "Alert":
        return acknowledge(state, identifier, who, now, comment)

    _act(project, alert, json, act, lambda row: f"{row.id} is acknowledged by {row.acknowledged_by}")


@alerts_app.command("resolve", epilog="Example: tidemill alerts resolve alert_01jd --comment 'backfilled'")
def alerts_resolve(
    alert: AlertId,
    project: ProjectDir = None,
    comment: Comment = None,
    noise: Annotated[
        bool, typer.Option("--noise", help="Nothing was to be done: propose another threshold.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Resolve an alert: its cause is gone. If it comes back soon, the alert is reopened."""
    from tidemill.alerting.alert_actions import mark_as_noise, resolve

    def act(state: "State", identifier: str, who: str, now: "datetime") -> "Alert":
        return (mark_as_noise if noise else resolve)(state, identifier, who, now, comment)

    told = " as noise: `tidemill alerts show` has the threshold that it proposes, if any" if noise else ""
    _act(project, alert, json, act, lambda row: f"{row.id} is resolved{told}")


@alerts_app.command("unmark", epilog="Example: tidemill alerts unmark alert_01jd --comment 'it was real'")
def alerts_unmark(
    alert: AlertId, project: ProjectDir = None, comment: Comment = None, json: AsJson = False
) -> None:
    """Take back that an alert was noise: the next run judges as if it had not been marked."""
    from tidemill.alerting.alert_actions import withdraw_noise

    def act(state: "State", identifier: str, who: str, now: "datetime") -> "Alert":
        return withdraw_noise(state, identifier, who, now, comment)

    _act(project, alert, json, act, lambda row: f"{row.id} is marked as noise no more")


@alerts_app.command(
    "comment", epilog="Example: tidemill alerts comment alert_01jd 'a holiday, look again on Monday'"
)
def alerts_comment(
    alert: AlertId,
    text: Annotated[str, typer.Argument(help="The comment.", show_default=False)],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Comment on an alert, for those who see it after you."""
    from tidemill.alerting.alert_actions import comment_on

    def act(state: "State", identifier: str, who: str, now: "datetime") -> "Alert":
        return comment_on(state, identifier, who, now, text)

    _act(project, alert, json, act, lambda row: f"the comment is on {row.id}")


def _act(
    project: Any,
    alert: str,
    json: bool,
    act: "Callable[[State, str, str, datetime], Alert]",
    told: "Callable[[Alert], str]",
) -> None:
    """Let ``act`` change an alert, and say what it did."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import open_state
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    identifier = full_id(records, "alerts", folder.model, alert)
    row = act(open_state(folder.state_url), identifier, folder.settings.who, SystemClock().now())
    facts = {"id": row.id, "status": row.status, "acknowledged_by": row.acknowledged_by}
    emit(facts, json, lambda console: console.print(f"✓ {told(row)}"))
