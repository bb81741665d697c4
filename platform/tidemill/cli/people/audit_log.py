"""``tidemill audit``: who did what, whether the log is whole, and what leaves it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, format_moment
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted, said_days

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.accounts.auditing.audit_reading import AuditFilter
    from tidemill.state.record_reader import Row

__all__ = ["add_to"]

_From = Annotated[
    str | None,
    typer.Option("--from", metavar="WHEN", help="Only entries since then (ISO 8601).", show_default=False),
]
_To = Annotated[
    str | None, typer.Option("--to", metavar="WHEN", help="Only entries before then.", show_default=False)
]
_Actor = Annotated[str | None, typer.Option(help="Only what this name did.", show_default=False)]
_Action = Annotated[str | None, typer.Option(help="Only this action, such as promote.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        name="list",
        epilog="Examples: tidemill audit list --actor ada   ·   tidemill audit list --from 2026-01-01 --json",
    )(list_entries)
    app.command(epilog="Examples: tidemill audit verify   ·   tidemill audit verify --head 812:9f2c…")(verify)
    app.command(epilog="Example: tidemill audit head >> /mnt/elsewhere/audit-heads")(head)
    app.command(
        epilog="Examples: tidemill audit export > audit.jsonl   ·   "
        "tidemill audit export --format csv --from 2026-01-01 --out audit.csv"
    )(export)
    app.command(epilog="Example: tidemill audit prune")(prune)


def list_entries(
    project: ProjectDir = None,
    since: _From = None,
    until: _To = None,
    actor: _Actor = None,
    action: _Action = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most so many.")] = 50,
    json: AsJson = False,
) -> None:
    """Show who did what, the latest first."""
    from tidemill.accounts.auditing.audit_reading import latest_entries
    from tidemill.cli.reading import open_reading

    _, records = open_reading(project)
    found = latest_entries(records, _filter(since, until, actor, action), last)

    def render(console: "Console") -> None:
        if not found:
            console.print(
                "no entries" if since or until or actor or action else "nobody has done anything yet"
            )
            return
        table = Listing("entry", "when", "who", "did", "to", "why")
        for row in found:
            to = f"{row.resource} {row.resource_id}" + (f" of {row.model}" if row.model else "")
            who = row.actor if row.actor_kind != "open" else f"{row.actor} (nobody had to log in)"
            table.add_row(str(row.seq), format_moment(row.at), who, row.action, to, row.reason or "–")
        console.print(table)

    emit({"entries": [_facts(row) for row in found]}, json, render)


def verify(
    project: ProjectDir = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="HEAD",
            help="What `tidemill audit head` printed earlier: it must still be in the log, or its end was "
            "cut off.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check that no entry was changed, taken out or put in.

    Exits with 1 and names the first entry that is wrong.
    """
    from tidemill.accounts.auditing.audit_reading import anchor, parse_head, verify_log
    from tidemill.cli.reading import open_reading

    try:
        witness = None if head is None else parse_head(head)
    except ValueError as error:
        raise UsageError(str(error), hint="copy a whole line of its output") from error
    _, records = open_reading(project)
    last = verify_log(records, witness)
    first = anchor(records).seq + 1
    number = last.seq - first + 1

    def render(console: "Console") -> None:
        begin = f", from entry {first} on: those before were removed by retention" if first > 1 else ""
        console.print(f"✓ {counted(number, 'entry', 'entries')}{begin}: none was changed")
        console.print(f"head: {last}")  # on a narrow terminal it goes on in the next line
        if witness is None:
            console.print("Whether its end was cut off, only --head with an earlier head can tell.")

    emit({"verified": number, "first": first, "head": str(last)}, json, render)


def head(project: ProjectDir = None, json: AsJson = False) -> None:
    """Print the last entry's number and hash.

    Kept elsewhere, it shows later whether the end of the log was cut off.
    """
    from tidemill.accounts.auditing.audit_reading import head as read_head
    from tidemill.cli.reading import open_reading

    _, records = open_reading(project)
    last = read_head(records)
    emit({"head": str(last)}, json, lambda console: console.print(str(last), soft_wrap=True))


def export(
    project: ProjectDir = None,
    since: _From = None,
    until: _To = None,
    actor: _Actor = None,
    action: _Action = None,
    format: Annotated[
        Literal["jsonl", "csv"], typer.Option(help="JSON lines can be verified; CSV is for spreadsheets.")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: standard output).", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Write entries out, in order, as JSON lines or CSV."""
    from tidemill.accounts.auditing.audit_export import csv_lines, json_lines
    from tidemill.accounts.auditing.audit_reading import all_entries
    from tidemill.cli.reading import open_reading

    if json and out is None:
        raise UsageError("--json says what was written to a file, and there is none", hint="add --out FILE")
    _, records = open_reading(project)
    rows = all_entries(records, _filter(since, until, actor, action))
    lines = json_lines(rows) if format == "jsonl" else csv_lines(rows)
    if out is None:
        for line in lines:
            typer.echo(line, nl=False)
        return
    number = _write(out, lines) - (format == "csv")
    emit(
        {"file": out, "entries": number},
        json,
        lambda console: console.print(f"✓ {out}: {counted(number, 'entry', 'entries')}", soft_wrap=True),
    )


def prune(project: ProjectDir = None, json: AsJson = False) -> None:
    """Remove entries that are older than `audit.keep` of params.yaml.

    The removal is itself on record, and the rest still verifies.
    """
    from tidemill.accounts.auditing.audit_retention import prune as remove
    from tidemill.project import load_project
    from tidemill.state import open_state

    loaded = load_project(project)
    keep = loaded.config.audit.keep
    done = remove(open_state(loaded.state_url), loaded.settings.who, keep, SystemClock().now())
    days = keep // timedelta(days=1)

    def render(console: "Console") -> None:
        if done.removed:
            console.print(
                f"✓ removed {counted(done.removed, 'entry', 'entries')} older than {said_days(keep)}"
            )
        else:
            console.print(f"no entry is older than {said_days(keep)} (audit.keep in params.yaml)")

    until = None if done.until is None else str(done.until)
    emit({"removed": done.removed, "until": until, "keep_days": days}, json, render)


def _filter(since: str | None, until: str | None, actor: str | None, action: str | None) -> "AuditFilter":
    from tidemill.accounts.auditing.audit_reading import AuditFilter

    wanted = AuditFilter(actor=actor, action=action)
    return replace(
        wanted,
        since=None if since is None else moment(since),
        until=None if until is None else moment(until),
    )


def _facts(row: "Row") -> dict[str, Any]:
    from tidemill.accounts.auditing.audit_chain import entry_facts

    return {**entry_facts(row), "hash": row.hash}


def _write(path: Path, lines: Iterable[str]) -> int:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            number = 0
            for line in lines:
                file.write(line)
                number += 1
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="choose another place"
        ) from error
    return number
