"""``tidemill jobs``: slow predictions, their queue and their dead."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.clock import SystemClock
from tidemill.errors import JobNotFound, UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.project import Project
    from tidemill.state import State
    from tidemill.state.record_reader import Row

__all__ = ["add_to"]

_LIMIT = 100
_STATUSES = ("queued", "running", "done", "dead", "cancelled")
_FIELDS = (
    "id",
    "status",
    "model",
    "at",
    "test",
    "rows",
    "rows_done",
    "attempts",
    "error",
    "cancel_requested",
    "requested_at",
    "started_at",
    "finished_at",
    "erased_at",
)
"""As in ``GET /jobs``."""
jobs_app = typer.Typer(no_args_is_help=True, help="See slow predictions, cancel them, retry them.")

JobId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the job, or its first characters.", show_default=False)
]
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(jobs_app, name="jobs")


@jobs_app.command(
    "list", epilog="Examples: tidemill jobs list   ·   tidemill jobs list --status queued --json"
)
def jobs_list(
    project: ProjectDir = None,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only jobs that are queued, running, done, dead or cancelled.", show_default=False),
    ] = None,
    limit: Limit = _LIMIT,
    json: AsJson = False,
) -> None:
    """Show jobs, the latest first."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import record_queries

    wrong = sorted(set(status or ()) - set(_STATUSES))
    if wrong:
        raise UsageError(f"{wrong[0]!r} is not a status of jobs", hint=f"jobs are {', '.join(_STATUSES)}")
    folder, records = open_reading(project)
    found = record_queries.jobs(records, folder.model, status or (), limit)
    numbers_by_status = record_queries.job_counts(records, folder.model)
    counts = {name: numbers_by_status.get(name, 0) for name in _STATUSES}

    def render(console: "Console") -> None:
        if found:
            _table(console, found, shorten(records.ids("jobs", folder.model)))
        numbers = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
        console.print(numbers or "no jobs: POST /jobs submits one, where serve.jobs.enabled is true")

    emit({"jobs": [_shown(job) for job in found], "counts": counts}, json, render)


@jobs_app.command("show", epilog="Example: tidemill jobs show job_01k9 --json")
def jobs_show(job: JobId, project: ProjectDir = None, json: AsJson = False) -> None:
    """Show one job: how far it is, and its last error."""
    from tidemill.cli.reading import open_reading
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    identifier = full_id(records, "jobs", folder.model, job)
    found = records.select("jobs", "model = ? AND id = ?", folder.model, identifier)
    if not found:
        raise JobNotFound(f"there is no job {job}", hint="it may have expired; `tidemill jobs list`")
    facts = _shown(found[0])

    def render(console: "Console") -> None:
        table = Listing("job", facts["id"])
        for name, value in facts.items():
            shown = format_moment(value) if name.endswith("_at") or name == "at" else value
            if name != "id":
                table.add_row(name, "–" if shown is None else str(shown))
        console.print(table)

    emit(facts, json, render)


@jobs_app.command("cancel", epilog="Example: tidemill jobs cancel job_01k9")
def jobs_cancel(job: JobId, project: ProjectDir = None, json: AsJson = False) -> None:
    """Cancel a job.

    A job that waits ends at once, one that runs after the chunk under way.
    """
    from tidemill.serving.jobs.job_files import JobFiles, jobs_folder
    from tidemill.serving.jobs.job_records import cancel, get_job

    loaded, state = _open(project)
    after = cancel(
        state, get_job(state, loaded.model, _full(project, job)), SystemClock().now(), loaded.settings.who
    )
    if after.status == "cancelled":
        JobFiles(jobs_folder(loaded) / after.id).drop_input()
    how = "is cancelled" if after.status == "cancelled" else "is cancelled when its chunk is done"
    emit(_shown(after), json, lambda console: console.print(f"✓ {after.id} {how}"))


@jobs_app.command("dead", epilog="Example: tidemill jobs dead --json")
def jobs_dead(project: ProjectDir = None, limit: Limit = _LIMIT, json: AsJson = False) -> None:
    """Show the dead jobs, and why they failed."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import record_queries

    folder, records = open_reading(project)
    found = record_queries.jobs(records, folder.model, ["dead"], limit)

    def render(console: "Console") -> None:
        for job in found:
            console.print(
                f"{job.id}  {job.rows_done:,} of {counted(job.rows, 'row')}, {format_moment(job.finished_at)}"
            )
            console.print(f"  {job.error}")
        console.print("try one again: tidemill jobs retry ID" if found else "no dead jobs")

    emit({"jobs": [_shown(job) for job in found]}, json, render)


@jobs_app.command("retry", epilog="Example: tidemill jobs retry job_01k9")
def jobs_retry(job: JobId, project: ProjectDir = None, json: AsJson = False) -> None:
    """Queue a dead job again.

    It continues where it stopped.
    """
    from tidemill.serving.jobs.job_records import get_job, retry

    loaded, state = _open(project)
    after = retry(
        state, get_job(state, loaded.model, _full(project, job)), SystemClock().now(), loaded.settings.who
    )
    emit(
        _shown(after),
        json,
        lambda console: console.print(f"✓ {after.id} is queued again, from row {after.rows_done:,} on"),
    )


def _open(folder: Any) -> "tuple[Project, State]":
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(folder)
    return loaded, open_state(loaded.state_url)


def _full(project: Path | None, job: str) -> str:
    from tidemill.cli.reading import open_reading
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    return full_id(records, "jobs", folder.model, job)


def _shown(job: Any) -> dict[str, Any]:
    facts = {name: getattr(job, name) for name in _FIELDS}
    more = {"caller": job.caller or None, "worker": job.worker, "due_at": job.due_at}
    return {**facts, "model_version": job.version, **more}


def _table(console: "Console", jobs: "list[Row]", ids: dict[str, str]) -> None:
    table = Listing("id", "status", "rows", "version", "requested", "attempts", "error")
    for job in jobs:
        table.add_row(
            ids[job.id],
            job.status,
            f"{job.rows_done:,} of {job.rows:,}",
            job.version or "–",
            format_moment(job.requested_at),
            str(job.attempts),
            job.error or "–",
        )
    console.print(table)
