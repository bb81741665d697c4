"""Defines the options that many commands share."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tidemill.clock import parse_moment
from tidemill.errors import UsageError

__all__ = ["AsJson", "AsOf", "GivenReason", "Now", "ProjectDir", "moment", "not_blank"]

ProjectDir = Annotated[
    Path | None,
    typer.Option(
        "--project", "-p", help="Folder of the project (default: here or above).", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON instead of text.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="WHEN",
        help="Nothing known later than this moment enters (ISO 8601, UTC unless it says otherwise; "
        "default: what params.yaml says, else now).",
        show_default=False,
    ),
]
Now = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="WHEN",
        help="Event time of this, for history that is replayed (ISO 8601, UTC unless it says otherwise; "
        "default: now).",
        show_default=False,
    ),
]


def not_blank(text: str) -> str:
    """Return the text of an option that goes on record as the reason of an act.

    Raises:
        typer.BadParameter: there is nothing in it.
    """
    if not text.strip():
        raise typer.BadParameter("say why: it goes on record, for those who ask later")
    return text.strip()


GivenReason = Annotated[
    str, typer.Option(help="Why; recorded with it.", show_default=False, callback=not_blank)
]


def moment(text: str) -> datetime:
    """Read a moment.

    Raises:
        UsageError: it is not ISO 8601, or digits alone.

    >>> moment("2013-04-01").isoformat()
    '2013-04-01T00:00:00+00:00'
    """
    try:
        return parse_moment(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a moment", hint="write it like 2013-04-01 or 2013-04-01T06:00+00:00"
        ) from error
