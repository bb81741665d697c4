"""``tidemill features status`` and ``materialise``."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, format_moment, print_wrapped
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.features.online.view_freshness import ViewFreshness

__all__ = ["add_to"]

_BROUGHT = "left out, as it comes in the request (features.from in params.yaml)"

At = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="The moment (ISO 8601, UTC; default: now).", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill features status   ·   tidemill features status --at 2013-04-01 --json"
    )(status)
    app.command(epilog="Example: tidemill features materialise --at 2013-04-01")(materialise)


def status(project: ProjectDir = None, at: At = None, json: AsJson = False) -> None:
    """Show how old the features in the online store are."""
    from tidemill.features.feature_status import feature_status
    from tidemill.project import open_folder

    asked = moment(at) if at else SystemClock().now()
    views = feature_status(open_folder(project), asked)

    def render(console: "Console") -> None:
        table = Listing("view", "keys", "newest", "age", "ttl", "state")
        for view in views:
            table.add_row(view.view, *_cells(view))
        console.print(table)
        for view in views:
            for note in _notes(view):
                print_wrapped(console, f"{view.view}: {note}")

    emit({"at": asked, "views": views}, json, render)


def materialise(project: ProjectDir = None, at: At = None, json: AsJson = False) -> None:
    """Write the latest values to the online store.

    Later values that the online store already has stay.
    """
    from tidemill.project import load_project

    loaded = load_project(project)
    loaded.require_store()
    until = moment(at) if at else SystemClock().now()
    from tidemill.features.by_view.view_sources import requested_views
    from tidemill.features.feature_store import materialise as fill

    brought = sorted(requested_views(loaded).unread)
    with progress() as tell:
        rows = fill(loaded, until, lambda view, done, total: tell(view, "rows", done, total))

    def render(console: "Console") -> None:
        console.print(f"online up to {format_moment(until)}")
        table = Listing("view", "rows")
        for view, count in rows.items():
            table.add_row(view, f"{count:,}")
        console.print(table)
        for view in brought:
            print_wrapped(console, f"{view}: {_BROUGHT}")

    emit({"until": until, "rows": rows, "requested": brought}, json, render)


def _cells(view: "ViewFreshness") -> list[str]:
    return [
        "–" if view.keys is None else f"{view.keys:,}",
        format_moment(view.newest),
        _span(view.age_seconds),
        "–" if view.state == "request" else _span(view.ttl_seconds) if view.ttl_seconds else "none",
        view.state,
    ]


def _notes(view: "ViewFreshness") -> list[str]:
    notes = []
    if view.state == "request":
        notes.append(_BROUGHT)
    if view.expired:
        notes.append(f"{view.expired:.1%} of the keys have expired")
    if view.source_newest and (view.newest is None or view.newest < view.source_newest):
        notes.append(
            f"the source has rows up to {format_moment(view.source_newest)}: tidemill features materialise"
        )
    return notes


def _span(seconds: float | None) -> str:
    """Return a span of time as people say it.

    >>> _span(5400.0), _span(90000.0), _span(-60.0)
    ('1 h 30 min', '1 d 1 h', '−1 min')
    """
    if seconds is None:
        return "–"
    span = timedelta(seconds=abs(seconds))
    hours, minutes = divmod(span.seconds // 60, 60)
    parts = [(span.days, "d"), (hours, "h"), (minutes, "min")]
    said = [f"{count} {unit}" for count, unit in parts if count][:2] or [f"{span.seconds} s"]
    return ("−" if seconds < 0 else "") + " ".join(said)
