"""``tidemill models archive``, ``unarchive`` and ``delete``."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, GivenReason, ProjectDir
from tidemill.cli.output import emit
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from tidemill.project import Project
    from tidemill.state import State

__all__ = ["add_to"]

_Version = Annotated[str, typer.Argument(metavar="VERSION", help="A number or an alias.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands to those about models."""
    app.command("archive", epilog='Example: tidemill models archive 3 --reason "superseded by 7"')(archive)
    app.command("unarchive", epilog='Example: tidemill models unarchive 3 --reason "wanted once more"')(
        unarchive
    )
    app.command("delete", epilog='Example: tidemill models delete 3 --reason "trained by mistake" --yes')(
        delete
    )


def archive(version: _Version, reason: GivenReason, project: ProjectDir = None, json: AsJson = False) -> None:
    """Put a version away: lists leave it out, and nothing promotes or deploys it.

    Refused while it has an alias, is deployed, something waits for it, or a schedule or
    deployments.yaml names it. A rollback may still go to it.
    """
    from tidemill.registry.version_removal import archive_version
    from tidemill.scoring.schedules.schedule_rules import pinned_versions

    loaded, state = _opened(project)
    pinned = pinned_versions(loaded)
    number = archive_version(loaded, state, version, actor=loaded.settings.who, reason=reason, pinned=pinned)
    _tell(loaded, number, "archived", json)


def unarchive(
    version: _Version, reason: GivenReason, project: ProjectDir = None, json: AsJson = False
) -> None:
    """Bring an archived version back."""
    from tidemill.registry.version_removal import unarchive_version

    loaded, state = _opened(project)
    number = unarchive_version(loaded, state, version, actor=loaded.settings.who, reason=reason)
    _tell(loaded, number, "no longer archived", json)


def delete(
    version: _Version,
    reason: GivenReason,
    yes: Annotated[bool, typer.Option("--yes", help="It is meant: nothing brings it back.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Delete a version from the registry; its run stays in MLflow.

    Refused while it has an alias, is deployed, something waits for it, or a schedule or
    deployments.yaml names it.
    """
    if not yes:
        raise UsageError(
            f"version {version} was not deleted: nothing would bring it back",
            hint="add --yes, or put it away: `tidemill models archive`",
        )
    from tidemill.registry.version_removal import delete_version
    from tidemill.scoring.schedules.schedule_rules import pinned_versions

    loaded, state = _opened(project)
    pinned = pinned_versions(loaded)
    number = delete_version(loaded, state, version, actor=loaded.settings.who, reason=reason, pinned=pinned)
    _tell(loaded, number, "deleted", json)


def _opened(project: ProjectDir) -> "tuple[Project, State]":
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    return loaded, open_state(loaded.state_url)


def _tell(project: "Project", version: str, what: str, json: bool) -> None:
    facts = {"model": project.model, "version": version, "done": what}
    emit(facts, json, lambda console: console.print(f"✓ {project.model} {version} is {what}"))
