"""``tidemill approvals``: what waits for a second person."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tidemill.cli.options import AsJson, GivenReason, ProjectDir
from tidemill.cli.output import emit, format_moment, print_indented
from tidemill.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.state.record_reader import Records, Row

__all__ = ["add_to", "decide", "waiting_requests"]

_ID = Annotated[str, typer.Argument(metavar="ID", help="Of the request.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="list", epilog="Example: tidemill approvals list --json")(list_waiting)
    app.command(epilog='Example: tidemill approvals approve ask_01m8 --comment "I looked at the slices"')(
        approve
    )
    app.command(epilog='Example: tidemill approvals refuse ask_01m8 --comment "not before the holidays"')(
        refuse
    )


def list_waiting(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show what waits for a second person; after seven days nothing does any more."""
    from tidemill.cli.reading import open_reading
    from tidemill.registry.approval_terms import VALID, said_terms

    folder, records = open_reading(project)
    found = waiting_requests(records, folder.model)

    def render(console: "Console") -> None:
        for row in found:
            console.print(f"{row.id}  {row.action} version {row.version} of {row.model}")
            print_indented(console, said_terms(row.terms))
            console.print(f"  {row.asked_by}, {format_moment(row.asked_at)}: {row.reason}")
            console.print(f"  waits until {format_moment(row.asked_at + VALID)}")
        if not found:
            console.print("nothing waits for a second person")

    shown = [{**vars(row), "until": row.asked_at + VALID} for row in found]
    emit({"approvals": shown}, json, render)


def waiting_requests(records: "Records", model: str) -> "list[Row]":
    """Return the requests that wait for a second person, and have not expired."""
    from tidemill.registry.approval_terms import VALID
    from tidemill.state.record_queries import approvals_waiting

    since = SystemClock().now() - VALID
    return [row for row in approvals_waiting(records, model) if row.asked_at > since]


def approve(id: _ID, comment: GivenReason, project: ProjectDir = None, json: AsJson = False) -> None:
    """Approve what another person asked for, and do it.

    It is done in the name of who asked. If it cannot be done now, the approval counts
    for seven days.
    """
    decide(id, "approve", comment, project, json)


def refuse(id: _ID, comment: GivenReason, project: ProjectDir = None, json: AsJson = False) -> None:
    """Refuse a request, or take back one's own."""
    decide(id, "refuse", comment, project, json)


def decide(
    id: str, said: Literal["approve", "refuse"], comment: str, project: ProjectDir, json: bool
) -> None:
    """Put a decision on record, do what was approved, and print what became of it."""
    from tidemill.project import load_project
    from tidemill.registry.second_person import decide_approval
    from tidemill.state import open_state

    loaded = load_project(project)
    state = open_state(loaded.state_url)
    row = decide_approval(state, loaded.model, id, said, actor=loaded.settings.who, comment=comment)
    done = None
    if said == "approve":
        from tidemill.retraining.by_hand.approved_acts import carry_out
        from tidemill.serving.runtime.local_stack import attach

        done = carry_out(attach(loaded), state, row, SystemClock().now())

    def render(console: "Console") -> None:
        console.print(f"✓ {row.action} version {row.version}: {row.status}")
        if done is not None:
            print_indented(console, done)

    facts = {"id": row.id, "action": row.action, "version": row.version, "status": row.status, "done": done}
    emit({"approval": facts}, json, render)
