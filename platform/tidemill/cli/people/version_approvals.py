"""``tidemill approve`` and ``reject``: the answer of a second person, by the version that it is about."""

from typing import Annotated

import typer

from tidemill.cli.options import AsJson, GivenReason, ProjectDir
from tidemill.cli.people.approvals import decide, waiting_requests
from tidemill.errors import RecordNotFound, UsageError

__all__ = ["add_to"]

_Version = Annotated[str, typer.Argument(metavar="VERSION", help="A number or an alias.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog='Example: tidemill approve 3 --reason "I looked at the slices"')(approve)
    app.command(epilog='Example: tidemill reject 3 --reason "not before the holidays"')(reject)


def approve(version: _Version, reason: GivenReason, project: ProjectDir = None, json: AsJson = False) -> None:
    """Approve what waits about a version, and do it.

    The approval is bound to the version's file, to the gate's figures and to the version
    that it replaces. If it cannot be done now, it counts for seven days.
    """
    decide(_waiting(version, project, "approve"), "approve", reason, project, json)


def reject(version: _Version, reason: GivenReason, project: ProjectDir = None, json: AsJson = False) -> None:
    """Refuse what waits about a version. Who asked for it takes it back so."""
    decide(_waiting(version, project, "refuse"), "refuse", reason, project, json)


def _waiting(version: str, project: ProjectDir, word: str) -> str:
    """Return the id of the one request about a version.

    Raises:
        RecordNotFound: none waits.
        UsageError: several do.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.registry.versions.registry_reader import read_version

    folder, records = open_reading(project)
    number = version if version.isdecimal() else read_version(folder, version).version
    found = [row for row in waiting_requests(records, folder.model) if row.version == number]
    if not found:
        raise RecordNotFound(
            f"nothing about version {number} of {folder.model} waits for a second person",
            hint=f"`tidemill promote {number}` asks for it where gate.four_eyes is set; "
            "`tidemill approvals list` shows what waits",
        )
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} requests about version {number} wait: "
            + ", ".join(f"{row.id} ({row.action}, asked for by {row.asked_by})" for row in found),
            hint=f"choose one: `tidemill approvals {word} ID`",
        )
    return str(found[0].id)
