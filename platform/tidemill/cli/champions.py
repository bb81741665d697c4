"""``tidemill promote`` and ``rollback``: which version is the champion."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.models.version_arguments import (
    Model,
    NamedVersion,
    is_version,
    named_version,
    require_own_model,
)
from tidemill.cli.models.version_stages import Stage, put, take_back
from tidemill.cli.options import AsJson, Now, ProjectDir, moment, not_blank
from tidemill.cli.output import emit, print_indented
from tidemill.clock import SystemClock
from tidemill.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.state import State

__all__ = ["add_to"]

Reason = Annotated[str, typer.Option(help="The reason, for the record.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill promote 2   ·   "
        'tidemill promote flight-delay 2 --reason "summer schedule" --json   ·   '
        "tidemill promote 2 --stage staging"
    )(promote)
    app.command(
        epilog="Examples: tidemill rollback   ·   tidemill rollback 3   ·   "
        "tidemill rollback flight-delay --to 3"
    )(rollback)


def promote(
    model: Model = None,
    version: NamedVersion = None,
    project: ProjectDir = None,
    reason: Annotated[
        str, typer.Option(help="Why; recorded with it.", callback=not_blank)
    ] = "asked for by hand",
    stage: Stage = None,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Make a version the champion, if the gate agrees.

    The gate compares it with the present champion; if it refuses, the exit code is 3.
    With --stage the version gets into that stage, if the stage's gates agree.
    """
    from tidemill.project import load_project
    from tidemill.registry.promotion import evaluate_gate
    from tidemill.registry.promotion import promote as move
    from tidemill.registry.versions.model_versions import get_version
    from tidemill.state import open_state

    loaded = load_project(project)
    now = moment(as_of) if as_of else SystemClock().now()
    if stage is not None:
        put(loaded, model, version, stage, reason, now, json)
        return
    model, version = named_version(loaded, model, version, "promote")
    require_own_model(loaded, model, "promote")
    state = open_state(loaded.state_url)
    found = get_version(loaded, version, model)
    decision = evaluate_gate(loaded, state, found.version, now, loaded.settings.who)
    done = move(
        loaded, state, found.version, actor=loaded.settings.who, reason=reason, now=now, decision=decision
    )
    ended = _ended_rollout(state, model, done.to_version)

    def render(console: "Console") -> None:
        console.print(f"✓ {model} {done.to_version} is the champion (before: {done.from_version or 'none'})")
        for sentence in (*decision.reasons, *ended):
            print_indented(console, sentence)

    facts = {
        "model": model,
        "from": done.from_version,
        "to": done.to_version,
        "reasons": decision.reasons,
        "numbers": decision.numbers,
    }
    emit(facts, json, render)


def rollback(
    model: Model = None,
    project: ProjectDir = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="Version to go back to (default: the champion before this one).", show_default=False
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why; recorded with it.", callback=not_blank)
    ] = "rolled back by hand",
    stage: Stage = None,
    json: AsJson = False,
) -> None:
    """Make an earlier champion the champion again.

    A number or an alias alone is the version to go back to. The gate is not asked.
    With --stage the version in that stage gives its place back to the one before, or
    leaves the stage empty if there is none.
    """
    from tidemill.project import load_project
    from tidemill.registry.promotion import rollback as back
    from tidemill.registry.versions.model_versions import get_version
    from tidemill.rollouts.rollout_begin import running
    from tidemill.state import open_state

    loaded = load_project(project)
    if stage is not None:
        if to is None and model is not None and is_version(loaded, model):
            model, to = None, model
        if to is not None:
            raise UsageError(
                f"--stage goes back to the version that was in {stage} before: no version can be named",
                hint=f"leave {to} out: tidemill rollback --stage {stage}",
            )
        take_back(loaded, model, stage, reason, SystemClock().now(), json)
        return
    state = open_state(loaded.state_url)
    if to is None and model is not None and is_version(loaded, model):
        model, to = None, model
    model = model or loaded.model
    require_own_model(loaded, model, "rollback")
    if to is not None and not to.isdecimal():
        to = get_version(loaded, to).version
    try:
        done = back(loaded, state, actor=loaded.settings.who, reason=reason, now=SystemClock().now(), to=to)
    except RegistryError as error:
        if (going := running(state, model)) is not None:
            error.hint = (
                f"version {going.version} is being rolled out: `tidemill deploy stop canary` ends that"
            )
        raise
    ended = _ended_rollout(state, model, done.to_version)

    def render(console: "Console") -> None:
        before = f"was: {done.from_version}" if done.from_version else "there was none"
        console.print(f"✓ {model} {done.to_version} is the champion again ({before})")
        for sentence in ended:
            print_indented(console, sentence)

    emit({"model": model, "from": done.from_version, "to": done.to_version}, json, render)


def _ended_rollout(state: "State", model: str, champion: str) -> list[str]:
    """Return what becomes of a rollout that is under way while the champion moves, as a sentence."""
    from tidemill.rollouts.rollout_begin import running

    found = running(state, model)
    if found is None or found.version == champion:
        return []
    return [f"the rollout of version {found.version} ends with that: it was against version {found.champion}"]
