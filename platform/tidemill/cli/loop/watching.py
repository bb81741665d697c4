"""``tidemill monitor`` and ``alerts``: what the monitors found, and who looks after it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.options import AsJson, Now, ProjectDir, moment
from tidemill.cli.output import emit, format_moment
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import MonitoringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

__all__ = ["add_to"]

monitor_app = typer.Typer(no_args_is_help=True, help="Run the monitors, and see what they found.")
alerts_app = typer.Typer(no_args_is_help=True, help="See alerts, and acknowledge them.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(monitor_app, name="monitor")
    app.add_typer(alerts_app, name="alerts")


@monitor_app.command("run", epilog="Example: tidemill monitor run --as-of 2013-05-01 --json")
def monitor_run(
    project: ProjectDir = None,
    name: Annotated[
        str | None, typer.Argument(help="One monitor (default: all).", show_default=False)
    ] = None,
    as_of: Now = None,
    report: Annotated[
        bool, typer.Option("--report", help="Make HTML reports although nothing is alarming.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Evaluate the monitors now, whether they are due or not.

    Each looks at the window that ends now, or at --as-of. One that fails does not stop the others.
    """
    from tidemill.monitoring.monitor_config import chosen_monitors
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    monitors = chosen_monitors(loaded, name)
    now = moment(as_of) if as_of else SystemClock().now()
    state = open_state(loaded.state_url)
    done = 0
    with progress() as tell:
        tell("monitors", "reading the prediction log", 0, len(monitors))
        from tidemill.monitoring.monitoring_round import evaluate_all

        def listen(run: Any) -> None:
            nonlocal done
            done += 1
            tell("monitors", run.monitor, done, len(monitors))

        runs = evaluate_all(loaded, state, [(each, now) for each in monitors], report, listen)
    _show_runs(runs, json)
    if failed := [run for run in runs if run.verdict == "failed"]:
        told = "; ".join(f"{run.monitor}: {run.results['error']}" for run in failed)
        raise MonitoringError(
            f"{len(failed)} of {len(runs)} monitors failed: {told}", hint=failed[0].results["hint"]
        )


@monitor_app.command("list", epilog="Example: tidemill monitor list --last 5")
def monitor_list(
    project: ProjectDir = None,
    last: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: AsJson = False,
) -> None:
    """Show the latest evaluations of the monitors."""
    from tidemill.cli.reading import open_reading
    from tidemill.state.record_queries import monitor_runs

    folder, records = open_reading(project)
    _show_runs(monitor_runs(records, folder.model, last), json)


def _show_runs(runs: list[Any], json: bool) -> None:
    from tidemill.monitoring.measured_figures import measured

    facts = [
        {
            "id": r.id,
            "monitor": r.monitor,
            "version": r.version,
            "window": [r.window_start, r.window_end],
            "rows": r.rows,
            "labelled": r.labelled,
            "verdict": r.verdict,
            "results": r.results,
            "report": r.report_path,
        }
        for r in runs
    ]

    def render(console: "Console") -> None:
        about = "monitor", "version", "window", "rows", "labelled", "verdict"
        table = Listing(*about, "measured", "found", "report")
        for r in runs:
            window = f"{format_moment(r.window_start)} … {format_moment(r.window_end)}"
            table.add_row(
                r.monitor,
                r.version,
                window,
                f"{r.rows:,}",
                f"{r.labelled:,}",
                r.verdict,
                "\n".join(f"{name}: {said}" for name, said in measured(r.results).items()) or "–",
                _found(r.results),
                r.report_path or "–",
            )
        console.print(table if runs else "no monitor has run yet: tidemill monitor run")

    emit(facts, json, render)


def _found(results: dict[str, Any]) -> str:
    """Return what a run found, or why it found nothing, in a few words."""
    drift = results.get("data_drift") or {}
    told = [each["kind"] for each in results.get("findings", ())]
    told += [f"{name} is not compared: {why}" for name, why in drift.get("not_compared", {}).items()]
    told += results.get("warnings", ())
    told += [results[name] for name in ("error", "report_error") if name in results]
    return "; ".join(told) or "–"


@alerts_app.command("list", epilog="Example: tidemill alerts list --all")
def alerts_list(
    project: ProjectDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    json: AsJson = False,
) -> None:
    """Show the alerts that are not resolved."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import record_queries

    folder, records = open_reading(project)
    moved = record_queries.moves(records, folder.model)
    champion = moved[-1][0].to_version if moved else None
    alerts = record_queries.alerts(records, folder.model, include_resolved=everything)
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
    table = Listing("id", "status", "kind", "version", "raised", "by", "message")
    for a in alerts:
        table.add_row(
            ids[a.id],
            a.status,
            a.kind,
            _whether_it_serves(a, champion),
            format_moment(a.raised_at),
            a.acknowledged_by or "–",
            a.message,
        )
    console.print(table if alerts else "no alerts")


def _whether_it_serves(alert: Any, champion: str | None) -> str:
    """Return an alert's version, and whether another one is the champion by now, where the alert is open."""
    past = champion is not None and alert.status != "resolved" and alert.version != champion
    return f"{alert.version}, serves no more" if past else str(alert.version)


@alerts_app.command("ack", epilog="Example: tidemill alerts ack alert_01jd")
def alerts_ack(
    alert: Annotated[
        str, typer.Argument(help="Id of the alert, or its first characters.", show_default=False)
    ],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Acknowledge an alert: you have seen it and look after it."""
    from tidemill.cli.reading import open_reading
    from tidemill.monitoring.alerts import acknowledge
    from tidemill.state import open_state
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    identifier = full_id(records, "alerts", folder.model, alert)
    now = SystemClock().now()
    row = acknowledge(open_state(folder.state_url), identifier, folder.settings.who, now)
    emit(
        {"id": row.id, "status": row.status, "acknowledged_by": row.acknowledged_by},
        json,
        lambda console: console.print(f"✓ {row.id} is acknowledged by {row.acknowledged_by}"),
    )
