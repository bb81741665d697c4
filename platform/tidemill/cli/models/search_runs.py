"""``tidemill runs stop`` and ``runs logs``: a search that runs, and how its trials ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.errors import RunNotFound
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("stop", epilog="Examples: tidemill runs stop   ·   tidemill runs stop --finish")(stop)
    app.command(
        "logs", epilog="Examples: tidemill runs logs 4f1d22aa   ·   tidemill runs logs 4f1d22aa --trial 7"
    )(logs)


def stop(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="The search's run; without it the one that runs.", show_default=False
        ),
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Go on with the best trial so far, instead of ending the turn.")
    ] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Stop a search that runs.

    Its turn ends as failed, and `tidemill run --resume` goes on with it.
    """
    from tidemill.project import load_project

    loaded = load_project(project)

    from tidemill.retraining.by_hand.resumed_turn import stop_search
    from tidemill.state import open_state

    found = stop_search(loaded, open_state(loaded.state_url), run, loaded.settings.who, finish=finish)

    def render(console: "Console") -> None:
        console.print(f"run {found.run_id} was asked to stop, after {counted(found.trials, 'trial')}")
        after = "its turn goes on with the best of them" if finish else "next: tidemill run --resume"
        console.print(f"  {after}")

    emit({**vars(found), "finish": finish}, json, render)


def logs(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run, or its first characters.", show_default=False)
    ],
    trial: Annotated[
        int | None, typer.Option(min=0, help="A trial's number: its whole error.", show_default=False)
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show how the trials of a search ended, and what was raised where one failed."""
    from tidemill.project import load_project, open_folder
    from tidemill.training.tracking.showing.stored_runs import read_project_runs

    [found] = read_project_runs(open_folder(project), [run])
    run_id = found.run.run_id

    from tidemill.training.tracking.run_logs import read_error, read_trial_ends

    loaded = load_project(project)
    trials = [one for one in read_trial_ends(loaded, run_id) if trial in (None, one.number)]
    if trial is not None and not trials:
        raise RunNotFound(f"run {run_id[:8]} has no trial {trial}", hint=f"tidemill runs logs {run_id[:8]}")
    failed = [run_id] if found.run.status != "FINISHED" else []  # one that was gone on with keeps its error
    shown = failed if trial is None else [one.run_id for one in trials]
    errors = {one: text for one in shown if (text := read_error(loaded, one)) is not None}
    facts = {
        "run_id": run_id,
        "status": found.run.status,
        "end": found.run.end,
        "trials": [vars(one) for one in trials],
        "errors": errors,
    }

    def render(console: "Console") -> None:
        end = f": {found.run.end}" if found.run.end else ""
        console.print(f"{run_id} · {found.run.status.lower()}{end}", soft_wrap=True, markup=False)
        ids = shorten([one.run_id for one in trials])
        table = Listing("trial", "run", "status", "end")
        for one in trials:
            table.add_row(one.name, ids[one.run_id], _status(one.status, one.end), one.end)
        if trials:
            console.print(table)
        elif found.run.role != "search":
            console.print(f"it has no trials: tidemill runs show {run_id[:8]}", markup=False)
        for text in errors.values():
            console.print(text, soft_wrap=True, markup=False, highlight=False)

    emit(facts, json, render)


def _status(status: str, end: str) -> str:
    """Return how a trial ended in one word: MLflow calls those killed that the scheduler stopped.

    >>> _status("KILLED", "stopped early"), _status("KILLED", "orphaned: its process was killed")
    ('stopped', 'killed')
    """
    return "stopped" if status == "KILLED" and end.startswith("stopped early") else status.lower()
