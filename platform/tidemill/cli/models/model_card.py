"""``tidemill models card`` and ``export-record``: all that is on record about a version."""

from datetime import UTC, datetime
from errno import EISDIR
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.models.version_arguments import Version
from tidemill.cli.options import AsJson, GivenReason, ProjectDir
from tidemill.cli.output import as_json, emit
from tidemill.errors import NotWritable

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to those about models."""
    app.command(
        "card",
        epilog="Examples: tidemill models card   ·   tidemill models card 3 --html card.html   ·   "
        "tidemill models card champion --json",
    )(card)
    app.command("keep-card", epilog='Example: tidemill models keep-card 3 --reason "a new owner"')(keep_card)
    app.command(
        "export-record",
        epilog="Examples: tidemill models export-record 3 --output version-3.json   ·   "
        "tidemill models export-record champion --json",
    )(export_record)


_Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write it as an HTML page instead.", show_default=False),
]


def card(
    version: Version = None, html: _Html = None, project: ProjectDir = None, json: AsJson = False
) -> None:
    """Show the card of a version: all that is on record about it, and what people say.

    As Markdown, unless asked otherwise. See docs/model-card.md.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.dashboard.records.card_reading import read_card
    from tidemill.project import load_project
    from tidemill.registry.cards.card_pages import html_page, markdown
    from tidemill.registry.versions.alias_names import CHAMPION

    _, records = open_reading(project)
    made = read_card(load_project(project), records, version or CHAMPION, datetime.now(UTC))
    if html is not None:
        _write(html, html_page(made))
    said = markdown(made).rstrip("\n") if html is None else f"✓ {made.model} {made.version}: {html}"
    emit(made, json, lambda console: console.print(said, soft_wrap=True))


def keep_card(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="A number or an alias.", show_default=False)
    ],
    reason: GivenReason,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Keep what card.yaml says now with a version, in place of what was kept before.

    A promotion does so by itself.
    """
    from tidemill.project import load_project
    from tidemill.registry.cards.kept_fields import keep_fields
    from tidemill.state import open_state

    loaded = load_project(project)
    state = open_state(loaded.state_url)
    number = keep_fields(loaded, state, version, actor=loaded.settings.who, reason=reason)
    told = {"model": loaded.model, "version": number, "done": "keep-card"}
    emit(told, json, lambda console: console.print(f"✓ the card is kept with {loaded.model} {number}"))


def export_record(
    version: Version = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it as JSON with line breaks.", show_default=False),
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Export all that is on record about a version, for auditors, as JSON.

    Its card, each decision of the gate with all numbers, who moved and approved what,
    deployments, monitoring since, and its entries of the audit log. It says what it is,
    and what it is not.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.dashboard.version_dossier import read_dossier
    from tidemill.project import load_project
    from tidemill.registry.versions.alias_names import CHAMPION

    _, records = open_reading(project)
    made = read_dossier(load_project(project), records, version or CHAMPION, datetime.now(UTC))
    if output is None:
        emit(made, True, lambda console: None)
        return
    _write(output, _indented(as_json(made)))
    told = {"model": made["model"], "version": made["version"], "file": str(output)}
    emit(told, json, lambda console: console.print(f"✓ {made['model']} {made['version']}: {output}"))


def _indented(text: str) -> str:
    """Return JSON with line breaks."""
    from json import dumps, loads

    return dumps(loads(text), indent=2, ensure_ascii=False) + "\n"


def _write(path: Path, page: str) -> None:
    from tidemill.files.atomic import replace_file

    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        replace_file(path, page)
    except OSError as error:
        raise NotWritable(
            f"nothing can be written there: {path}: {error.strerror or error}",
            hint="name a file in a folder that is there and can be written",
        ) from error
