"""``tidemill turns cancel``: a person ends the turn that is being made."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cancel", epilog='Example: tidemill turns cancel --reason "the labels are wrong"')(cancel)


def cancel(
    turn: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Id of the turn, or its first characters (default: the one that is being made).",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded with it.")] = "",
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Cancel the turn that is being made, here or on a cluster.

    Who makes it stops within seconds, and nothing of it is promoted. A turn that has begun to promote its
    version cannot be cancelled.
    """
    from tidemill.project import load_project
    from tidemill.retraining.cancelling.cancelled_turns import cancel_turn
    from tidemill.state import open_state

    place = load_project(project)
    state = open_state(place.state_url)
    ended = cancel_turn(place, state, turn, place.settings.who, reason)

    def render(console: "Console") -> None:
        console.print(f"{ended.id} is {ended.error}", soft_wrap=True)

    emit({"turn": ended.id, "status": ended.status, "step": ended.step, "error": ended.error}, json, render)
