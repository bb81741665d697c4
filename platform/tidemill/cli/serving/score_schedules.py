"""``tidemill score schedule``: what is scored regularly, what came of it, and scoring a slot by hand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, Now, ProjectDir, moment
from tidemill.cli.output import emit, format_moment
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["schedule_app"]

schedule_app = typer.Typer(
    no_args_is_help=True, help="Score tables regularly, as monitoring/schedules.yaml declares."
)


@schedule_app.command("list", epilog="Example: tidemill score schedule list --last 5")
def schedule_list(
    project: ProjectDir = None,
    last: Annotated[int, typer.Option(min=1, help="How many runs.")] = 20,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Show the schedules, when each is due, and the latest runs."""
    from tidemill.cli.reading import open_reading
    from tidemill.scoring.schedules.schedule_status import schedule_status
    from tidemill.state.record_queries import batch_runs

    folder, records = open_reading(project)
    schedules = schedule_status(folder, records, moment(as_of) if as_of else SystemClock().now())
    runs = batch_runs(records, folder.model, last)

    def render(console: "Console") -> None:
        if not schedules:
            console.print("monitoring/schedules.yaml declares no schedule")
            return
        table = Listing("schedule", "due", "next")
        for each in schedules:
            table.add_row(each["name"], format_moment(each["due"]), format_moment(each["next"]))
        console.print(table)
        _render_runs(console, runs)

    emit({"schedules": schedules, "runs": [_facts(run) for run in runs]}, json, render)


@schedule_app.command(
    "run", epilog="Example: tidemill score schedule run tomorrow --slot 2013-04-01T04:00 --restart"
)
def schedule_run(
    name: Annotated[str, typer.Argument(help="Name of the schedule.", show_default=False)],
    project: ProjectDir = None,
    slot: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN", help="The slot's moment (default: the one that is due).", show_default=False
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what a killed or failed run left behind.")
    ] = False,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Score one slot of a schedule now.

    A slot that is done already is not scored again.
    """
    from tidemill.project import load_project
    from tidemill.scoring.schedules.schedule_rules import find_schedule
    from tidemill.scoring.schedules.scheduled_runs import next_due, run_slot
    from tidemill.scoring.schedules.slots import DueSlot, last_slot
    from tidemill.serving.runtime.local_stack import attach
    from tidemill.state import open_state

    loaded = load_project(project)
    state, now = open_state(loaded.state_url), moment(as_of) if as_of else SystemClock().now()
    schedule = find_schedule(loaded, name)
    if slot is None:
        found = next_due(loaded, state, schedule, now) or DueSlot(last_slot(schedule, now))
    else:
        found = DueSlot(moment(slot))
        if last_slot(schedule, found.slot) != found.slot:
            nearest = last_slot(schedule, found.slot)
            raise UsageError(
                f"{slot} is not a slot of {name!r}", hint=f"the one before it is {nearest.isoformat()}"
            )
    with progress() as tell:
        run = run_slot(attach(loaded), state, schedule, found, now, tell, restart=restart)
    emit(_facts(run), json, lambda console: _render_runs(console, [run]))


def _facts(run: Any) -> dict[str, Any]:
    names = ("id", "schedule", "slot", "status", "tries", "version", "rows", "rejected", "output", "error")
    return {name: getattr(run, name) for name in names}


def _render_runs(console: "Console", runs: list[Any]) -> None:
    table = Listing("schedule", "slot", "status", "version", "rows", "rejected", "output")
    for run in runs:
        counts = ["–" if count is None else f"{count:,}" for count in (run.rows, run.rejected)]
        what = run.error if run.status in ("failed", "skipped") else run.output
        table.add_row(
            run.schedule, format_moment(run.slot), run.status, run.version or "–", *counts, what or "–"
        )
    console.print(table if runs else "no slot was scored yet")
