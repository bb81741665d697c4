"""``tidemill run``, ``retrain``, ``monitor`` and ``alerts``: the loop by hand."""

from typing import Annotated, Any

import typer
from rich.console import Console

from tidemill.cli.options import AsJson, AsOf, ProjectDir, moment
from tidemill.cli.output import columns, emit, progress, when
from tidemill.clock import SystemClock
from tidemill.errors import GateRefused, UsageError

__all__ = ["add_to"]

_PANEL = "The loop"
monitor_app = typer.Typer(no_args_is_help=True, help="Run the monitors, and see what they found.")
alerts_app = typer.Typer(no_args_is_help=True, help="See alerts, and acknowledge them.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill run   ·   tidemill run --promote --as-of 2013-05-01   ·   "
        "tidemill run --set train.trials=24",
        rich_help_panel=_PANEL,
    )(run)
    app.command(
        epilog='Example: tidemill retrain --as-of 2013-06-01 --reason "new carrier"', rich_help_panel=_PANEL
    )(retrain)
    app.add_typer(monitor_app, name="monitor", rich_help_panel=_PANEL)
    app.add_typer(alerts_app, name="alerts", rich_help_panel=_PANEL)


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Set a value of params.yaml; may be repeated.", show_default=False
    ),
]


def run(
    project: ProjectDir = None,
    as_of: AsOf = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Go on through the gate to the alias champion.")
    ] = False,
    params: Sets = None,
    json: AsJson = False,
) -> None:
    """Version the data, build features, tune, and register the best model as a version."""
    _turn(project, as_of, promote, "run by hand", params, json)


def retrain(
    project: ProjectDir = None,
    as_of: AsOf = None,
    reason: Annotated[str, typer.Option(help="Why: it goes on record.")] = "asked for by hand",
    params: Sets = None,
    json: AsJson = False,
) -> None:
    """Make a whole turn of the loop now: data, training, gate, promotion or refusal."""
    _turn(project, as_of, True, reason, params, json)


def _turn(
    folder: Any, as_of: str | None, promote: bool, reason: str, params: list[str] | None, json: bool
) -> None:
    from tidemill.project import load_project
    from tidemill.retraining.turn import TurnRequest, declared_moment, make_turn
    from tidemill.serving.runtime.local_stack import attached
    from tidemill.state import open_state
    from tidemill.state.tables import GateDecision

    project = attached(load_project(folder))
    at = moment(as_of) if as_of else declared_moment(project)
    request = TurnRequest(
        at, reason, project.settings.who, promote=promote, params=_assignments(params or [])
    )
    state = open_state(project.state_url)
    with progress(hidden=json) as tell:
        turn = make_turn(project, state, request, lambda e: tell(e.step, e.message, e.done, e.total))
    with state.transaction() as session:
        decision = session.get(GateDecision, turn.decision_id) if turn.decision_id else None
    facts = {
        "turn": turn.id,
        "status": turn.status,
        "data_revision": turn.data_revision,
        "run_id": turn.run_id,
        "model": turn.model,
        "version": turn.version,
        "gate": None if decision is None else {"passed": decision.passed, "reasons": decision.reasons},
        "seconds": turn.seconds,
    }

    def render(console: Console) -> None:
        console.print(f"{turn.model} version {turn.version} · {turn.status} · run {turn.run_id}")
        for sentence in decision.reasons if decision else []:
            console.print(f"  {sentence}")
        if turn.status == "registered":
            console.print(f"  next: tidemill promote {turn.model} {turn.version}")

    emit(facts, json, render)
    if turn.status == "refused":
        raise GateRefused(
            f"the gate refused version {turn.version} of {turn.model}",
            hint=f"tidemill models show {turn.model} {turn.version}",
        )


def _assignments(texts: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; values are YAML.

    >>> _assignments(["train.trials=24"])
    {'train.trials': 24}
    """
    import yaml

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: not NAME=VALUE", hint="for example --set train.trials=24")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(
                f"--set {text}: the value is not YAML", hint="quote it, or see params.yaml"
            ) from error
    return values


@monitor_app.command("run", epilog="Example: tidemill monitor run --as-of 2013-05-01 --json")
def monitor_run(
    project: ProjectDir = None,
    name: Annotated[
        str | None, typer.Argument(help="One monitor (default: all).", show_default=False)
    ] = None,
    as_of: AsOf = None,
    json: AsJson = False,
) -> None:
    """Evaluate monitors over the window that ends now, whether due or not."""
    from tidemill.monitoring.monitor_config import load_monitors
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    monitors = [m for m in load_monitors(loaded) if name in (None, m.name)]
    if not monitors:
        known = ", ".join(m.name for m in load_monitors(loaded)) or "none"
        raise UsageError(
            f"there is no monitor {name!r}", hint=f"declared in monitoring/monitors.yaml: {known}"
        )
    now = moment(as_of) if as_of else SystemClock().now()
    state = open_state(loaded.state_url)
    runs = []
    with progress(hidden=json) as tell:
        tell("monitors", "loading Evidently", 0, len(monitors))
        from tidemill.monitoring.monitor import evaluate

        for done, each in enumerate(monitors, 1):
            runs.append(evaluate(loaded, state, each, now))
            tell("monitors", each.name, done, len(monitors))
    _show_runs(runs, json)


@monitor_app.command("list", epilog="Example: tidemill monitor list --last 5")
def monitor_list(
    project: ProjectDir = None,
    last: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: AsJson = False,
) -> None:
    """Show the latest evaluations."""
    from sqlalchemy import select

    from tidemill.project import load_project
    from tidemill.state import open_state
    from tidemill.state.tables import MonitorRun

    state = open_state(load_project(project).state_url)
    with state.transaction() as session:
        runs = list(session.scalars(select(MonitorRun).order_by(MonitorRun.at.desc()).limit(last)))
    _show_runs(runs, json)


def _show_runs(runs: list[Any], json: bool) -> None:
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

    def render(console: Console) -> None:
        table = columns("monitor", "version", "window", "rows", "labelled", "verdict", "found", "report")
        for r in runs:
            window = f"{when(r.window_start)} … {when(r.window_end)}"
            table.add_row(
                r.monitor,
                r.version,
                window,
                f"{r.rows:,}",
                f"{r.labelled:,}",
                r.verdict,
                ", ".join(each["kind"] for each in r.results.get("findings", ())) or "–",
                r.report_path or "–",
            )
        console.print(table if runs else "no monitor has run yet: tidemill monitor run")

    emit(facts, json, render)


@alerts_app.command("list", epilog="Example: tidemill alerts list --all")
def alerts_list(
    project: ProjectDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    json: AsJson = False,
) -> None:
    """Show the alerts that are not resolved."""
    from tidemill.monitoring.alerts import list_alerts
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    alerts = list_alerts(open_state(loaded.state_url), loaded.model, include_resolved=everything)
    facts = [
        {
            "id": a.id,
            "status": a.status,
            "severity": a.severity,
            "kind": a.kind,
            "monitor": a.monitor,
            "version": a.version,
            "message": a.message,
            "raised_at": a.raised_at,
            "acknowledged_by": a.acknowledged_by,
        }
        for a in alerts
    ]

    def render(console: Console) -> None:
        table = columns("id", "status", "kind", "version", "raised", "by", "message")
        for a in alerts:
            table.add_row(
                a.id, a.status, a.kind, a.version, when(a.raised_at), a.acknowledged_by or "–", a.message
            )
        console.print(table if alerts else "no alerts")

    emit(facts, json, render)


@alerts_app.command("ack", epilog="Example: tidemill alerts ack alert_01jd…")
def alerts_ack(
    alert: Annotated[str, typer.Argument(help="Id of the alert.", show_default=False)],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Say that you have seen an alert and look after it."""
    from tidemill.monitoring.alerts import acknowledge
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    now = SystemClock().now()
    row = acknowledge(open_state(loaded.state_url), alert, loaded.settings.who, now)
    emit(
        {"id": row.id, "status": row.status, "acknowledged_by": row.acknowledged_by},
        json,
        lambda console: console.print(f"✓ {row.id} is acknowledged by {row.acknowledged_by}"),
    )
