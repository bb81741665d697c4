"""What ``promote`` and ``rollback`` do with ``--stage``, and how a version's stages are shown."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.models.version_arguments import named_version, require_own_model
from tidemill.cli.output import emit, format_moment, print_indented

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

    from tidemill.project import Project
    from tidemill.state.record_reader import Row
    from tidemill.state.tables import StageMove

__all__ = ["Stage", "put", "said_moves", "stage_facts", "take_back"]

Stage = Annotated[
    str | None,
    typer.Option(
        "--stage",
        metavar="STAGE",
        help="A stage before production, of `stages` in params.yaml.",
        show_default=False,
    ),
]


def put(
    loaded: "Project",
    model: str | None,
    version: str | None,
    stage: str,
    reason: str,
    now: "datetime",
    json: bool,
) -> None:
    """Put a version into a stage, if its gates agree, and print what they said."""
    from tidemill.registry.stage_promotion import StageRequest, put_into_stage
    from tidemill.state import open_state

    model, version = named_version(loaded, model, version, "promote")
    require_own_model(loaded, model, "promote")
    asked = StageRequest(stage, loaded.settings.who, reason, now)
    _show(put_into_stage(loaded, open_state(loaded.state_url), version, asked), json)


def take_back(
    loaded: "Project", model: str | None, stage: str, reason: str, now: "datetime", json: bool
) -> None:
    """Give a stage back to the version before, and print which that is."""
    from tidemill.registry.stage_promotion import StageRequest
    from tidemill.registry.stage_promotion import take_back as back
    from tidemill.state import open_state

    require_own_model(loaded, model or loaded.model, "rollback")
    asked = StageRequest(stage, loaded.settings.who, reason, now)
    _show(back(loaded, open_state(loaded.state_url), asked), json)


def _show(done: "StageMove", json: bool) -> None:
    def render(console: "Console") -> None:
        there = f"{done.model} {done.to_version} is in" if done.to_version else "no version is in"
        console.print(f"✓ {there} {done.stage} (before: {done.from_version or 'none'})")
        for sentence in done.reasons:
            print_indented(console, sentence)

    facts = {
        "model": done.model,
        "stage": done.stage,
        "from": done.from_version,
        "to": done.to_version,
        "reasons": done.reasons,
        "numbers": done.numbers,
    }
    emit(facts, json, render)


def stage_facts(move: "Row") -> dict[str, Any]:
    """Return what is on record about a move of a stage, as JSON values."""
    names = (
        "stage",
        "from_version",
        "to_version",
        "kind",
        "status",
        "mode",
        "passed",
        "champion",
        "actor",
        "reason",
    )
    return {
        **{name: getattr(move, name) for name in names},
        "reasons": move.reasons,
        "numbers": move.numbers,
        "at": move.at,
    }


def said_moves(console: "Console", moves: "list[Row]", version: str) -> None:
    """Print what became of a version in stages, with what their gates said."""
    from tidemill.registry.history.service_periods import stage_step

    for move in moves:
        what = stage_step(move, version)
        console.print(f"{move.stage} {format_moment(move.at)}: {what}, by {move.actor}: {move.reason}")
        for sentence in move.reasons:
            print_indented(console, sentence)
