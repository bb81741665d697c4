"""``tidemill runs``: the runs of a project, what each was made from, and what differs between them."""

import re
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.models.run_texts import front_table, headline, markdown, said_code
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment
from tidemill.errors import UsageError
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tidemill.training.tracking.origins.code_differences import CodeDiff
    from tidemill.training.tracking.run_values import WholeRun
    from tidemill.training.tracking.showing.listed_runs import ListedRun
    from tidemill.training.tracking.showing.run_differences import Section

__all__ = ["add_to"]

_LINES = 200
"""Lines of code's differences that are shown to people."""
_ROWS = {"Columns": 12, "Environment": 40}
"""Rows of a section that are shown to people: those of many tables are very many."""
_DIGEST = re.compile(r"\b([0-9a-f]{10})[0-9a-f]{22,}\b")
_Id = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run, or its first characters.", show_default=False)
]


class Which(StrEnum):
    """Which runs are listed."""

    searches = "searches"
    trials = "trials"
    all = "all"


class Status(StrEnum):
    """How runs are doing."""

    finished = "finished"
    failed = "failed"
    killed = "killed"
    running = "running"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "list", epilog="Examples: tidemill runs list   ·   tidemill runs list --show trials --best --limit 5"
    )(list_runs)
    app.command("show", epilog="Example: tidemill runs show 4f1d22aa")(show)
    app.command(
        "diff",
        epilog="Examples: tidemill runs diff 4f1d22aa 9c0e   ·   "
        "tidemill runs diff 4f1d22aa 9c0e 77b1 --md   ·   tidemill runs diff 4f1d22aa 9c0e --all --json",
    )(diff)


def list_runs(
    show: Annotated[
        Which, typer.Option(help="Searches and single runs, their trials, or all.")
    ] = Which.searches,
    status: Annotated[Status | None, typer.Option(help="Only those that are so.", show_default=False)] = None,
    best: Annotated[bool, typer.Option("--best", help="The best first, not the latest.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 25,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """List the runs of a project.

    Plain MLflow runs that were started in its folder are among them.
    """
    from tidemill.project import open_folder
    from tidemill.tasks.task_names import declared_metric
    from tidemill.training.tracking.showing.listed_runs import list_project_runs

    folder = open_folder(project)
    metric = ("validation_" if show is Which.trials else "holdout_") + declared_metric(folder.params)
    found = list_project_runs(
        folder,
        metric=metric,
        shown=show.value,
        status=status.value.upper() if status else None,
        best=best,
        size=limit,
    )
    shown = metric_of(metric)
    facts = [{**vars(run), "metric": shown.name, "score": shown.shown(run.score)} for run in found]
    emit(facts, json, lambda console: _render_list(console, found, metric))


def _render_list(console: "Console", runs: "Sequence[ListedRun]", metric: str) -> None:
    shown, ids = metric_of(metric), shorten([run.run_id for run in runs])
    table = Listing("run", "name", "status", shown.name, "version", "code", "started")
    for run in runs:
        table.add_row(
            ids[run.run_id],
            run.name,
            run.status.lower(),
            "–" if run.score is None else shown.number(run.score),
            ", ".join(run.versions) or "–",
            (run.commit or "–")[:10] + (" +" if run.uncommitted else ""),
            format_moment(run.started_at),
        )
    console.print(table if runs else "no such run yet: tidemill run, or a script with `import mlflow`")
    if any(run.uncommitted for run in runs):
        console.print("+ with code that no commit holds: tidemill runs show RUN")
    for run in runs:
        if run.left and run.role == "search":
            of = ids[run.run_id]
            console.print(f"{of} was killed: tidemill run --resume {of} goes on with it")


def show(run: _Id, project: ProjectDir = None, json: AsJson = False) -> None:
    """Show one run: its metrics, and what it was made from."""
    from tidemill.cli.reading import open_reading
    from tidemill.training.tracking.origins.notebook_cells import read_cells
    from tidemill.training.tracking.showing.run_differences import decisions_on
    from tidemill.training.tracking.showing.run_facts import facts_of
    from tidemill.training.tracking.showing.stored_runs import read_project_front, read_project_runs

    folder, records = open_reading(project)
    [found] = read_project_runs(folder, [run])
    front = read_project_front(folder, found.run.run_id) if found.run.role == "search" else []
    facts = facts_of(folder, found, decisions_on(records, folder.model, found.versions))

    def render(console: "Console") -> None:
        console.print(" · ".join(headline(found)))
        for title, values in facts.items():
            if values:
                table = Listing(title.lower(), "")
                shown = {name: value for name, value in values.items() if not _is_aside(name)}
                for name, value in shown.items():
                    table.add_row(name, _short(value) if title == "Features" else value)
                console.print(table)
                if len(values) > len(shown):
                    what = ("column", "columns") if title == "Data" else ("more package", "more packages")
                    console.print(f"… {counted(len(values) - len(shown), *what)}: --json")
        if front:
            console.print(front_table(front))
        if found.trouble:
            console.print(f"not all of it can be read: {found.trouble}")

    cells = read_cells(folder.home, found.run.origin.get("cells"))
    code = {"patch": found.patch.decode(errors="replace"), "cells": cells}
    emit({**_described(found), "facts": facts, "front": front, **code}, json, render)


def _is_aside(name: str) -> bool:
    """Return whether a fact is one of hundreds: a package that changes no model, or a column's type.

    >>> _is_aside("Package zipp"), _is_aside("Package numpy"), _is_aside("Commit")
    (True, False, False)
    >>> _is_aside("Column age of data/training_set.parquet"), _is_aside("Rows of data/training_set.parquet")
    (True, False)
    """
    from tidemill.training.tracking.run_lineage import PACKAGES

    package = name.removeprefix("Package ")
    return package not in (name, "python", *PACKAGES) or (name.startswith("Column ") and " of " in name)


def _described(found: "WholeRun") -> dict[str, Any]:
    run = found.run
    return {
        "run_id": run.run_id,
        "name": run.name,
        "status": run.status,
        "role": run.role,
        "parent": run.parent,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "end": run.end,
        "versions": found.versions,
        "commit": found.commit,
        "trouble": found.trouble,
    }


def diff(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="A B [C]...", help="Ids of runs, or first characters.", show_default=False),
    ],
    all_of: Annotated[bool, typer.Option("--all", help="Also what is equal.")] = False,
    code: Annotated[bool, typer.Option("--code/--no-code", help="With the lines of code.")] = True,
    md: Annotated[bool, typer.Option("--md", help="Markdown instead of text.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show what differs between runs.

    Metrics, the gate's verdict, parameters, data and its columns, features, code and environment; code and
    distances of columns against the first run.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.training.tracking.origins.code_differences import code_diff
    from tidemill.training.tracking.origins.notebook_cells import with_cells
    from tidemill.training.tracking.showing.column_differences import column_differences, column_section
    from tidemill.training.tracking.showing.run_differences import compare_whole
    from tidemill.training.tracking.showing.stored_runs import read_project_runs

    wanted = list(dict.fromkeys(runs))
    if len(wanted) < 2:
        raise UsageError("runs diff needs two different runs", hint="`tidemill runs list` shows them")
    folder, records = open_reading(project)
    found = read_project_runs(folder, wanted)
    columns = column_differences(folder, found)
    sections = compare_whole(folder, records, found, all_of=all_of)
    sections += [column_section(columns, all_of=all_of)] if columns else []
    first, *others = found
    codes = [
        with_cells(
            code_diff(folder.root, (first.commit, first.patch), (other.commit, other.patch)),
            folder.home,
            *(one.run.origin.get("cells") for one in (first, other)),
        )
        for other in (others if code else ())
    ]
    facts = {
        "runs": [_described(one) for one in found],
        "sections": sections,
        "columns": [asdict(each) for each in columns if each.differs or all_of],
        "code": [
            {"from": first.run.run_id, "to": other.run.run_id, **asdict(each)}
            for other, each in zip(others, codes, strict=False)
        ],
    }
    if md and not json:
        sys.stdout.write("\n".join(markdown(found, sections, codes)) + "\n")
        return
    emit(facts, json, lambda console: _render_diff(console, found, sections, codes))


def _render_diff(
    console: "Console",
    found: "Sequence[WholeRun]",
    sections: "Sequence[Section]",
    codes: "Sequence[CodeDiff]",
) -> None:
    ids = shorten([one.run.run_id for one in found])
    for one in found:
        console.print(f"{ids[one.run.run_id]}  {' · '.join(headline(one))}", soft_wrap=True)
        if one.trouble:
            console.print(f"  not all of it can be read: {one.trouble}", soft_wrap=True)
    for section in sections:
        if section.rows:
            table = Listing(section.title.lower(), *(ids[one.run.run_id] for one in found))
            most = _ROWS.get(section.title, len(section.rows))
            for row in section.rows[:most]:
                table.add_row(row.name, *("–" if value is None else _short(value) for value in row.values))
            console.print(table)
            if len(section.rows) > most:
                console.print(f"… {len(section.rows) - most} more {section.title.lower()}: --md or --json")
    equal = [f"{section.title.lower()} {section.equal}" for section in sections if section.equal]
    if equal:
        console.print(f"equal: {', '.join(equal)}", soft_wrap=True)
    for other, each in zip(found[1:], codes, strict=False):
        to = f"code of {ids[other.run.run_id]}"
        console.print(f"{to}: {said_code(each)}", soft_wrap=True)
        lines = each.text.splitlines()
        for line in lines[:_LINES]:
            console.print(line, soft_wrap=True)
        if len(lines) > _LINES:
            console.print(f"… {counted(len(lines) - _LINES, 'more line')}: --md or --json show all of them")


def _short(text: str) -> str:
    """Return a text with its long digests cut, as they would make a table too wide.

    >>> _short("commit 860e7fbdbd704af8f2682a73a03a4406af31e4b4")
    'commit 860e7fbdbd'
    """
    return _DIGEST.sub(r"\1", text)
