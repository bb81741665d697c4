"""``tidemill policies approve`` and ``refuse``: a person's answer to a turn that asks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.retraining.questions import Answer

__all__ = ["add_to"]

Version = Annotated[
    str | None,
    typer.Argument(help="The version that waits (default: the only one).", show_default=False),
]
Comment = Annotated[str, typer.Option(help="Why; recorded with it.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("approve", epilog='Example: tidemill policies approve 7 --comment "seen the slices"')(approve)
    app.command("refuse", epilog='Example: tidemill policies refuse --comment "wait for June"')(refuse)


def approve(
    version: Version = None,
    comment: Comment = "",
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Promote it, without a rollout where replicas serve.")
    ] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Let the version of a turn that asks (action: ask) serve: by a rollout where replicas serve."""
    _answer(project, version, comment, "promote" if at_once else None, json)


def refuse(
    version: Version = None, comment: Comment = "", project: ProjectDir = None, json: AsJson = False
) -> None:
    """Refuse the version of a turn that asks (action: ask); it stays on record."""
    _answer(project, version, comment, "refuse", json)


def _answer(folder: Any, version: str | None, comment: str, said: "Answer | None", json: bool) -> None:
    from tidemill.project import load_project
    from tidemill.retraining.questions import answer, is_served
    from tidemill.serving.runtime.local_stack import attach
    from tidemill.state import open_state

    project = attach(load_project(folder))
    state = open_state(project.state_url)
    chosen: Answer = said or ("rollout" if is_served(state, project.model) else "promote")
    person, now = project.settings.who, SystemClock().now()
    with progress() as tell:
        turn = answer(
            project,
            state,
            chosen,
            person,
            comment,
            now,
            version,
            lambda event: tell(event.step, event.message, event.done, event.total),
        )
    facts = {name: getattr(turn, name) for name in ("id", "version", "status", "question", "error")}

    def render(console: "Console") -> None:
        console.print(f"{project.model} version {turn.version} · {turn.status}", soft_wrap=True)
        if turn.error:
            console.print(f"  {turn.error}", soft_wrap=True)
        elif turn.status == "refused":
            console.print(f"  by {person}: {comment}", soft_wrap=True, markup=False)

    emit(facts, json, render)
