"""``tidemill policies``: when the project's policies retrain, and why they do not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.loop import policy_answers
from tidemill.cli.options import AsJson, Now, ProjectDir, moment
from tidemill.cli.output import emit, format_moment, print_indented, print_wrapped
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog="Example: tidemill policies list --json")(list_policies)
    app.command("explain", epilog="Example: tidemill policies explain keep-fresh")(explain)
    app.command("history", epilog="Example: tidemill policies history --last 50")(history)
    app.command(
        "backtest",
        epilog="Examples: tidemill policies backtest --fast   ·   tidemill policies backtest "
        "--from 2013-04-01 --policy keep-fresh --svg decisions.svg",
    )(backtest)
    policy_answers.add_to(app)


def list_policies(project: ProjectDir = None, as_of: Now = None, json: AsJson = False) -> None:
    """Show the policies, and for each whether it would begin a turn now, and why not."""
    facts = _explained(project, as_of)

    def render(console: "Console") -> None:
        table = Listing("policy", "asks for a turn when", "now")
        for each in facts:
            table.add_row(each["policy"], each["asks_when"], _now(each))
        console.print(table if facts else "no policies: monitoring/policies.yaml declares none")

    emit(facts, json, render)


def explain(
    name: Annotated[str | None, typer.Argument(help="One policy (default: all).", show_default=False)] = None,
    project: ProjectDir = None,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Show what asks for a turn, and what each rule says to it."""
    facts = _explained(project, as_of)
    chosen = [each for each in facts if name in (None, each["policy"])]
    if not chosen:
        declared = ", ".join(each["policy"] for each in facts) or "none"
        raise UsageError(
            f"there is no policy {name!r}", hint=f"monitoring/policies.yaml declares: {declared}"
        )

    def render(console: "Console") -> None:
        for each in chosen:
            print_wrapped(console, f"{each['policy']}: {_now(each)}")
            print_wrapped(console, f"  asks for a turn when: {each['asks_when']}", "    ")
            if each["cause"]:
                print_wrapped(console, f"  what asks: {each['cause']}", "    ")
            for lack in each["lacking"]:
                print_wrapped(console, f"  not yet: {lack}", "    ")
            for late in each["too_old"]:
                print_wrapped(console, f"  does not count: {late}", "    ")
            for unheard in each["unheard"]:
                print_wrapped(console, f"  asks for no turn: {unheard}", "    ")
            for rule, reason in each["rules"].items():
                mark, said = ("✗", f": {reason}") if reason else ("✓", "")
                if not reason and rule == "unchanged" and each["untold"]:
                    mark, said = "?", f": {each['untold']}"
                print_wrapped(console, f"  {mark} {rule.replace('_', ' ')}{said}", "    ")

    emit(chosen, json, render)


def history(
    project: ProjectDir = None,
    last: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: AsJson = False,
) -> None:
    """Show what the policies decided, and why: one line for each cause and reason."""
    from tidemill.cli.reading import open_reading
    from tidemill.state.record_queries import policy_decisions

    folder, records = open_reading(project)
    rows = policy_decisions(records, folder.model, last)
    names = ("id", "policy", "verdict", "rule", "reason", "cause", "cause_message", "alert_id", "turn_id")
    facts = [{name: getattr(r, name) for name in (*names, "first_at", "last_at", "rounds")} for r in rows]

    def render(console: "Console") -> None:
        ids = shorten(records.ids("turns", folder.model))
        table = Listing("from", "to", "rounds", "policy", "verdict", "what asked", "why")
        for r in rows:
            made = f"turn {ids.get(r.turn_id, r.turn_id)}" if r.turn_id else "a turn was due"
            table.add_row(
                format_moment(r.first_at),
                format_moment(r.last_at),
                str(r.rounds),
                r.policy,
                r.verdict,
                r.cause_message,
                made if r.verdict == "retrain" else r.reason,
            )
        console.print(table if rows else "the policies have decided nothing yet")

    emit(facts, json, render)


def backtest(
    project: ProjectDir = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHEN",
            help="The first model learns what was known by then (default: after a quarter of the time, or "
            "when enough is known to split).",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHEN", help="The end (default: the last row).", show_default=False),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A policy; may be repeated (default: all).", show_default=False),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fit on samples of 20,000 rows.")] = False,
    max_fits: Annotated[int, typer.Option(min=1, help="Leave out what takes more fits than this.")] = 60,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the months here.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Play the policies over the training set's past, beside never, always and an oracle.

    At each moment monitors, policies and the gate see only rows that were over, and labels that were known.
    The result goes on record: the dashboard's page of policies shows the latest one.
    """
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    first, last = moment(start) if start else None, moment(end) if end else None
    state = open_state(loaded.state_url)  # before minutes of work: it says if nothing can be recorded
    with progress() as tell:
        tell("engines", "loading", None, None)
        from tidemill.retraining.backtest.backtest import BacktestRequest, run_backtest
        from tidemill.retraining.backtest.backtest_record import keep_backtest
        from tidemill.retraining.backtest.picture import as_svg

        wanted = BacktestRequest(first, last, tuple(policy or ()), fast, max_fits)
        found = run_backtest(loaded, wanted, lambda step, message: tell(step, message, None, None))
    kept = keep_backtest(state, loaded.model, found, loaded.settings.who, SystemClock().now())
    if svg is not None:
        from tidemill.files.atomic import replace_file

        replace_file(svg, as_svg(loaded.model, found.metric, found.played))
    facts = {**found.as_dict(), "id": kept}
    emit(facts, json, lambda console: _render_backtest(console, facts, svg))


def _render_backtest(console: "Console", facts: dict[str, Any], svg: Path | None) -> None:
    metric = metric_of(facts["metric"])
    table = Listing("strategy", f"mean {metric.name}", "turns", "promoted", "wrong", "surely", "CPU s")
    for each in facts["strategies"]:
        mean = "–" if each["mean"] is None else metric.number(each["mean"])
        counts = (each[name] for name in ("retrainings", "promoted", "wrong_promotions", "surely_wrong"))
        table.add_row(each["name"], mean, *map(str, counts), f"{each['cpu_seconds']:.1f}")
    months = ", ".join(facts["strategies"][0]["periods"])
    print_wrapped(console, f"by month, {months}; {counted(facts['fits'], 'fit')} of {facts['family']}")
    console.print(table)
    for each in facts["strategies"]:
        if each["name"] in ("never", "always", "oracle"):
            continue
        console.print(f"{each['name']}:{'' if each['turns'] else ' no turn'}", markup=False)
        for turn in each["turns"]:
            gain = "" if turn["gain"] is None else f", {turn['gain']:+.4f} in the 30 days after"
            window = "" if turn["window"] is None else f", on the window: {turn['window']}"
            said = f"{turn['status']}{window}{gain}: {turn['reason']}"
            print_wrapped(console, f"  {turn['at']:%Y-%m-%d} {said}", "    ")
    for note in facts["notes"]:
        print_indented(console, note)
    if svg is not None:
        console.print(f"✓ {svg}")


def _now(each: dict[str, Any]) -> str:
    if each["verdict"] is None:
        return "nothing asks for a turn"
    return f"holds: {each['reason']}" if each["verdict"] == "hold" else f"a turn is due: {each['cause']}"


def _explained(folder: Any, as_of: str | None) -> list[dict[str, Any]]:
    """Judge the policies without acting on it, or recording it."""
    now = moment(as_of) if as_of else SystemClock().now()
    return _judged(folder, now)


def _judged(folder: Any, now: "datetime") -> list[dict[str, Any]]:
    from tidemill.project import load_project
    from tidemill.retraining.by_hand.policy_judgement import judge_policies
    from tidemill.state import read_state

    project = load_project(folder)
    state = read_state(project.state_url)
    told = judge_policies(project, state, now)
    state.close()
    return told
