"""``tidemill monitor``: what the monitors found."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.loop.explained_runs import declared_monitors, is_about, noise_said, show_explained
from tidemill.cli.options import AsJson, Now, ProjectDir, moment
from tidemill.cli.output import emit, errors_console, format_moment, print_wrapped
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import MonitoringError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.project import Project

__all__ = ["add_to"]

monitor_app = typer.Typer(no_args_is_help=True, help="Run the monitors, and see what they found.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(monitor_app, name="monitor")


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

    Each looks at the window that ends now, or at --as-of, and judges the version that was champion then.
    One that fails does not stop the others.
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
        tell("monitors", monitors[0].name, 0, len(monitors))
        from tidemill.alerting.alert_states import record_alerts
        from tidemill.monitoring.monitoring_round import evaluate_all
        from tidemill.registry.history.serving_history import champion_at

        def listen(_run: Any) -> None:
            nonlocal done
            done += 1
            tell("monitors", monitors[min(done, len(monitors) - 1)].name, done, len(monitors))

        due = [(each, now) for each in monitors]
        served = champion_at(state, loaded.model, now) if as_of else None
        runs = evaluate_all(loaded, state, due, record_alerts, report, listen, served)
    _show_runs(runs, json)
    if not as_of:
        _tell_empty(loaded, runs)
    if failed := [run for run in runs if run.verdict == "failed"]:
        told = "; ".join(f"{run.monitor}: {run.results['error']}" for run in failed)
        raise MonitoringError(
            f"{len(failed)} of {len(runs)} monitors failed: {told}", hint=failed[0].results["hint"]
        )


def _tell_empty(project: "Project", runs: Sequence[Any]) -> None:
    """Say on stderr which windows that end now have no predictions, and for which moment there are some."""
    from tidemill.prediction_log.prediction_log import start_of_latest

    empty = [run for run in runs if not run.rows and run.verdict != "failed"]
    if not empty:
        return
    last = start_of_latest(project.predictions, project.model, 1, empty[0].window_end)
    names = ", ".join(run.monitor for run in empty)
    told = f"{names}: no prediction in the window that ends now, so nothing is judged and no report made; "
    if last is None:
        told += "the log has none at all"
    else:
        after = last.replace(second=0, microsecond=0) + timedelta(minutes=1)
        told += f"the last one is of {format_moment(last)}. To look at the last window: "
        told += f"tidemill monitor run --as-of {after:%Y-%m-%dT%H:%M+00:00}; `monitor explain` takes it, too"
    print_wrapped(errors_console(), told)


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


@monitor_app.command(
    "explain",
    epilog="Examples: tidemill monitor explain weekly   ·   tidemill monitor explain --as-of 2024-03-01",
)
def monitor_explain(
    project: ProjectDir = None,
    name: Annotated[
        str | None, typer.Argument(help="One monitor (default: all).", show_default=False)
    ] = None,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Say why there is no alert: each kind's figure beside its limit, in each monitor's last run."""
    from tidemill.cli.reading import open_reading
    from tidemill.monitoring.run_explanation import explain_run
    from tidemill.state.alert_queries import alerts
    from tidemill.state.record_queries import last_monitor_runs

    folder, records = open_reading(project)
    until = moment(as_of) if as_of else None
    runs = last_monitor_runs(records, folder.model, until)
    if name is not None and name not in (known := {run.monitor for run in runs}):
        raise MonitoringError(
            f"no monitor {name!r} has run", hint=f"those that have: {', '.join(sorted(known)) or 'none'}"
        )

    known_alerts = alerts(records, folder.model, include_resolved=until is not None)
    declared = declared_monitors(folder.root / "monitoring" / "monitors.yaml")
    facts = [
        {
            "monitor": run.monitor,
            "declared": declared is None or run.monitor in declared,
            "version": run.version,
            "window": [run.window_start, run.window_end],
            "verdict": run.verdict,
            "kinds": explain_run(run.verdict, run.rows, run.results),
            "noise": noise_said(records, folder.model, run),
            "warnings": run.results.get("warnings", []),
            "alerts": [
                {"id": each.id, "kind": each.kind, "status": each.status}
                for each in known_alerts
                if is_about(each, run, until)
            ],
        }
        for run in runs
        if name in (None, run.monitor)
    ]
    none = f"no run up to {as_of}" if as_of else "no monitor has run yet"
    emit(facts, json, lambda console: show_explained(console, facts, none))


@monitor_app.command("calibrate", epilog="Example: tidemill monitor calibrate weekly")
def monitor_calibrate(
    name: Annotated[str, typer.Argument(help="The monitor.", show_default=False)],
    project: ProjectDir = None,
    as_of: Now = None,
    with_alerts: Annotated[
        bool, typer.Option("--with-alerts", help="Windows that raised alerts are usual, too: it was noise.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Measure thresholds on the prediction log's own past, and say which of the monitor's are too low.

    99 of 100 windows stay below them: those that there were, and others made of half windows drawn at random.
    """
    import yaml

    from tidemill.monitoring.log_calibration import calibrate_from_log
    from tidemill.monitoring.monitor import nothing_serves
    from tidemill.monitoring.monitor_config import chosen_monitors
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import champion_version
    from tidemill.state import open_state

    loaded = load_project(project)
    (monitor,) = chosen_monitors(loaded, name)
    version = champion_version(loaded)
    if version is None:
        raise nothing_serves(loaded)
    now = moment(as_of) if as_of else SystemClock().now()
    found = calibrate_from_log(loaded, open_state(loaded.state_url), monitor, version, now, with_alerts)
    declared = found.declared(monitor)

    def render(console: "Console") -> None:
        print_wrapped(
            console,
            f"{name}: {counted(found.windows, 'window')} and {found.draws} drawn ones, {found.period}; "
            f"{counted(found.left_out, 'prediction')} of windows with an alert left out",
        )
        if not declared:
            console.print("its thresholds are high enough")
            return
        console.print("in monitoring/monitors.yaml:")
        console.print(yaml.safe_dump(declared, sort_keys=False).rstrip(), soft_wrap=True, markup=False)

    facts = {"monitor": name, "windows": found.windows, "draws": found.draws, "left_out": found.left_out}
    emit({**facts, "thresholds": declared}, json, render)


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
