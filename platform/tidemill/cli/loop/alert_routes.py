"""``tidemill alerts silence``, ``silences``, ``unsilence`` and ``route``: who is told, and who is not."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, not_blank
from tidemill.cli.output import emit, format_moment, print_indented
from tidemill.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Example: tidemill alerts silence kind=data_drift --until 2d --reason 'the feed moves'"
    )(silence)
    app.command(epilog="Example: tidemill alerts silences --all")(silences)
    app.command(epilog="Example: tidemill alerts unsilence silence_01jd")(unsilence)
    app.command(epilog="Example: tidemill alerts route alert_01jd")(route)


def silence(
    match: Annotated[
        list[str],
        typer.Argument(help="LABEL=PATTERN; all must match.", show_default=False),
    ],
    until: Annotated[str, typer.Option(help="A moment, or how long: 2d, 6h.", show_default=False)],
    reason: Annotated[
        str, typer.Option(help="Why, for those who wonder.", show_default=False, callback=not_blank)
    ],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Send nothing about certain alerts for a while. They still fire, and policies still heed them.

    All have the labels model, version, monitor, kind and severity; alerts from elsewhere have their own, too.
    """
    from tidemill.alerting.label_matchers import parse_matchers
    from tidemill.alerting.silences import add_silence, check_matchers, end_of
    from tidemill.project import open_folder
    from tidemill.state import open_state

    folder, now = open_folder(project), SystemClock().now()
    matchers, who = check_matchers(parse_matchers(match)), folder.settings.who
    row = add_silence(
        open_state(folder.state_url), folder.model, matchers, who, reason, now, end_of(until, now)
    )
    facts = {"id": row.id, "matchers": row.matchers, "author": row.author, "ends_at": row.ends_at}
    emit(facts, json, lambda console: console.print(f"✓ {row.id} ends at {format_moment(row.ends_at)} UTC"))


def silences(
    project: ProjectDir = None,
    everything: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    json: AsJson = False,
) -> None:
    """Show the silences that are in force."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import alert_queries

    folder, records = open_reading(project)
    found = alert_queries.silences(records, folder.model, SystemClock().now(), ended=everything)
    names = "id", "matchers", "author", "reason", "starts_at", "ends_at"

    def render(console: "Console") -> None:
        table = Listing("id", "labels", "author", "ends", "reason")
        for each in found:
            labels = " ".join(f"{name}={pattern}" for name, pattern in each.matchers.items())
            table.add_row(each.id, labels, each.author, format_moment(each.ends_at), each.reason)
        console.print(table if found else "no silences")

    emit([{name: getattr(each, name) for name in names} for each in found], json, render)


def unsilence(
    silence: Annotated[
        str, typer.Argument(help="Id of the silence, or its first characters.", show_default=False)
    ],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """End a silence now."""
    from tidemill.alerting.silences import end_silence
    from tidemill.cli.reading import open_reading
    from tidemill.state import open_state
    from tidemill.state.record_queries import full_id

    folder, records = open_reading(project)
    identifier = full_id(records, "silences", folder.model, silence)
    row = end_silence(open_state(folder.state_url), identifier, SystemClock().now(), folder.settings.who)
    emit({"id": row.id, "ends_at": row.ends_at}, json, lambda console: console.print(f"✓ {row.id} has ended"))


def route(
    alert: Annotated[
        str, typer.Argument(help="Id of the alert, or its first characters.", show_default=False)
    ],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show who is told about an alert, what was sent, and what was not and why."""
    from tidemill.alerting.alert_routing import explain
    from tidemill.alerting.routes import load_routes
    from tidemill.cli.reading import open_reading
    from tidemill.state import alert_queries, record_queries

    folder, records = open_reading(project)
    now = SystemClock().now()
    found = alert_queries.alert_records(
        records, folder.model, record_queries.full_id(records, "alerts", folder.model, alert)
    )
    others = alert_queries.alerts(records, folder.model, include_resolved=False)
    silenced = alert_queries.silences(records, folder.model, now, ended=False)
    times = alert_queries.times_fired(records, found.alert)
    facts = explain(found.alert, others, silenced, found.notifications, load_routes(folder), now, times)

    def render(console: "Console") -> None:
        console.print(f"{facts['id']}  {facts['status']}")
        print_indented(console, " ".join(f"{name}={value}" for name, value in facts["labels"].items()))
        print_indented(console, f"receivers: {', '.join(facts['receivers']) or 'none'}")
        print_indented(console, f"now: {facts['withheld'] or 'nothing stops a message'}")
        for each in facts["messages"]:
            at, why = format_moment(each["sent_at"] or each["at"]), each["reason"] or each["error"]
            told = f"{at}  {each['step']} to {each['receiver'] or 'nobody'}: {each['status']}"
            print_indented(console, told + (f": {why}" if why else ""))

    emit(facts, json, render)
