"""``tidemill policies``: when the project's policies retrain, and why they do not."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.loop import policy_answers, policy_backtest
from tidemill.cli.options import AsJson, Now, ProjectDir, moment
from tidemill.cli.output import emit, format_moment, print_wrapped
from tidemill.clock import SystemClock
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list", epilog="Example: tidemill policies list --json")(list_policies)
    app.command("explain", epilog="Example: tidemill policies explain keep-fresh")(explain)
    app.command("history", epilog="Example: tidemill policies history --last 50")(history)
    policy_backtest.add_to(app)
    policy_answers.add_to(app)


def list_policies(project: ProjectDir = None, as_of: Now = None, json: AsJson = False) -> None:
    """Show the policies, and for each whether it would begin a turn now, and why not."""
    facts = _explained(project, as_of)

    def render(console: "Console") -> None:
        table = Listing("policy", "asks for a turn when", "now")
        for each in facts:
            table.add_row(each["policy"], each["asks_when"], _now(each))
        console.print(table if facts else "no policies: monitoring/policies.yaml declares none")
        _tell_moment(console, facts, as_of)

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
        _tell_moment(console, chosen, as_of)

    emit(chosen, json, render)


def history(
    project: ProjectDir = None,
    last: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    json: AsJson = False,
) -> None:
    """Show what the policies decided, and why: one line for each cause and reason."""
    from tidemill.cli.reading import open_reading
    from tidemill.retraining.past_holds import why_over
    from tidemill.state.record_queries import policy_decisions

    folder, records = open_reading(project)
    rows = policy_decisions(records, folder.model, last)
    names = ("id", "policy", "verdict", "rule", "reason", "cause", "cause_message", "alert_id", "turn_id")
    facts = [{name: getattr(r, name) for name in (*names, "first_at", "last_at", "rounds")} for r in rows]
    latest = {r.policy: r for r in reversed(rows)}  # the latest is the first
    now, ended = SystemClock().now(), dict[str, str | None]()
    for r in latest.values():
        ended[r.id] = why_over(records, r, now)

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
                made if r.verdict == "retrain" else _held(r.reason, ended.get(r.id)),
            )
        console.print(table if rows else "the policies have decided nothing yet")

    emit(facts, json, render)


def _held(reason: str, ended: str | None) -> str:
    return reason if ended is None else f"{reason} ({ended})"


def _now(each: dict[str, Any]) -> str:
    if each["verdict"] is None:
        return "nothing asks for a turn"
    return f"holds: {each['reason']}" if each["verdict"] == "hold" else f"a turn is due: {each['cause']}"


def _explained(folder: Any, as_of: str | None) -> list[dict[str, Any]]:
    """Judge the policies without acting on it, or recording it; of the past by what was on record then."""
    from tidemill.project import load_project
    from tidemill.retraining.by_hand.policy_judgement import judge_policies, judge_policies_then
    from tidemill.state import read_state

    now = SystemClock().now()
    at = moment(as_of) if as_of else now
    project = load_project(folder)
    state = read_state(project.state_url)
    told = (judge_policies_then if at < now else judge_policies)(project, state, at)
    state.close()
    return told


def _tell_moment(console: "Console", facts: list[dict[str, Any]], as_of: str | None) -> None:
    """Say by what a moment of the past was judged, and what of it is of today."""
    if as_of is None or not facts or "of_today" not in facts[0]:
        return
    champion = facts[0]["champion"]
    served = f"version {champion} serving" if champion else "no champion"
    print_wrapped(
        console,
        f"as of {format_moment(moment(as_of))} UTC, with {served}, and the alerts and turns of then; "
        f"of today are: {'; '.join(facts[0]['of_today'])}",
    )
