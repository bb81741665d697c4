"""``tidemill models compare`` and ``search``: versions side by side, and those that have something."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.models.version_list import render_versions, version_facts
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, format_moment
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tidemill.registry.versions.registry_reader import ShownVersion
    from tidemill.training.tracking.showing.run_differences import Section

__all__ = ["add_to"]

_ROWS = 40
"""Rows of a section that are shown to people."""
_SIDE_BY_SIDE = ("Metrics", "Gate")
"""Sections that are shown though they are equal."""


def add_to(app: typer.Typer) -> None:
    """Add the commands to those about models."""
    app.command(
        "compare",
        epilog="Examples: tidemill models compare 2 champion   ·   tidemill models compare 2 3 --all --json",
    )(compare)
    app.command(
        "search",
        epilog="Examples: tidemill models search --metric 'roc_auc>=0.7' --param family=xgboost   ·   "
        "tidemill models search --data 4f1d22 --since 2013-04-01",
    )(search)


def compare(
    versions: Annotated[
        list[str],
        typer.Argument(metavar="A B [C]...", help="Numbers or aliases of versions.", show_default=False),
    ],
    all_of: Annotated[bool, typer.Option("--all", help="Also what is equal.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show versions side by side: metrics with intervals, the gate, and what differs.

    Parameters, data, features, code and environment are compared where they differ.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.registry.versions.registry_reader import read_version
    from tidemill.training.tracking.showing.run_differences import compare_whole
    from tidemill.training.tracking.showing.stored_runs import read_project_runs

    folder, records = open_reading(project)
    found = [read_version(folder, one) for one in versions]
    if len({one.version for one in found}) < 2 or len({one.version for one in found}) < len(found):
        raise UsageError(
            "models compare needs two different versions", hint="`tidemill models list` shows them"
        )
    if without := [one.version for one in found if not one.run_id]:
        raise UsageError(
            f"version {', '.join(without)} was made by no run: there is nothing to compare",
            hint=f"`tidemill models show {without[0]}` has what is known of it",
        )
    runs = read_project_runs(folder, [one.run_id for one in found])
    whole = compare_whole(folder, records, runs, all_of=True)
    sections = [one if all_of else _differing(one) for one in whole]
    facts = {"model": folder.model, "versions": [version_facts(one) for one in found], "sections": sections}
    emit(facts, json, lambda console: _render(console, found, sections))


def _differing(section: "Section") -> "Section":
    """Return a section without what is equal; metrics and the gate as they are."""
    from dataclasses import replace

    if section.title in _SIDE_BY_SIDE:
        return section
    rows = [row for row in section.rows if row.differs]
    return replace(section, rows=rows, equal=len(section.rows) - len(rows))


def _render(console: "Console", found: "Sequence[ShownVersion]", sections: "Sequence[Section]") -> None:
    ids = shorten([one.run_id for one in found])
    for one in found:
        named = " ".join(filter(None, (f"version {one.version}", ", ".join(one.aliases))))
        console.print(f"{named} · run {ids[one.run_id]} · {format_moment(one.registered_at)}", soft_wrap=True)
    for section in sections:
        if section.rows:
            table = Listing(section.title.lower(), *(f"version {one.version}" for one in found))
            for row in section.rows[:_ROWS]:
                table.add_row(row.name, *("–" if value is None else value for value in row.values))
            console.print(table)
            if len(section.rows) > _ROWS:
                console.print(f"… {len(section.rows) - _ROWS} more {section.title.lower()}: --json")
    if equal := [f"{one.title.lower()} {one.equal}" for one in sections if one.equal]:
        console.print(f"equal: {', '.join(equal)}", soft_wrap=True)


def search(
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Of the version.", show_default=False)
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC>=VALUE",
            help="Such as 'mae<12'; of the hold-out unless named so.",
            show_default=False,
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of its training; family, too.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION", help="Data version: first characters of commit or MD5.", show_default=False
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Registered then or later.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Registered before.", show_default=False)
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Find versions that have all that is asked for; archived ones, too."""
    from tidemill.cli.reading import open_reading
    from tidemill.registry.version_search import VersionQuery, matching_versions
    from tidemill.registry.versions.registry_reader import read_registered
    from tidemill.tasks.task_names import declared_metric

    folder, _ = open_reading(project)
    query = VersionQuery(
        tag or (),
        metric or (),
        param or (),
        data,
        moment(since) if since else None,
        moment(until) if until else None,
    )
    found = matching_versions(read_registered(folder), query)
    shown = declared_metric(folder.params)
    emit(
        [version_facts(one) for one in found],
        json,
        lambda console: render_versions(console, found, shown, "no version has all of that"),
    )
