"""``tidemill data validate``, ``infer`` and ``bias``: what is expected of data, and what it is like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, AsOf, ProjectDir, moment
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.errors import ProjectNotFound, UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill.data.bias.group_rates import BiasReport, Proportion
    from tidemill.data.validation.inference import Inferred
    from tidemill.data.validation.validation_report import SetReport
    from tidemill.project import Project

__all__ = ["add_to"]

Dataset = Annotated[
    str | None, typer.Option("--dataset", "-d", help="Only this data set (default: all).", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill data validate   ·   tidemill data validate --dataset flights new.parquet "
        "--failing bad/   ·   tidemill data validate --json"
    )(validate)
    app.command(
        epilog="Examples: tidemill data infer data/orders.csv   ·   tidemill data infer data/orders.csv "
        "--name orders --append"
    )(infer)
    app.command(
        epilog="Examples: tidemill data bias   ·   "
        'tidemill data bias --dataset flights --by dest --label "arr_delay > 60" --html bias.html'
    )(bias)


def validate(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Look at this file, not at the declared source.",
            exists=True,
            show_default=False,
        ),
    ] = None,
    dataset: Dataset = None,
    failing: Annotated[
        Path | None,
        typer.Option(
            "--failing", help="Folder for the rows that fail, with the reasons.", show_default=False
        ),
    ] = None,
    as_of: AsOf = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Check the data against expectations.yaml.

    Nothing in the project changes.
    Ends with 1 if a data set in mode stop fails as a whole, with 0 otherwise: bad rows within the limits, and
    whatever is wrong in mode warn, are reported.
    """
    from tidemill.data.validation.project_validation import check_project, failures
    from tidemill.project import load_project

    loaded = load_project(project)
    if file is not None and dataset is None:
        dataset = _only_declared(loaded)
    with progress() as tell:
        reports = check_project(
            loaded,
            _moment(loaded, as_of),
            only=dataset,
            file=file.resolve() if file else None,
            failing=failing,
            on_progress=tell,
        )
    emit(
        {name: report.as_dict() for name, report in reports.items()},
        json,
        lambda console: _show_reports(console, reports),
    )
    if failures(reports):
        raise typer.Exit(1)


def infer(
    file: Annotated[
        Path, typer.Argument(help="A good data set: parquet, CSV, ndjson or Arrow.", exists=True)
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the data set (default: the file's).", show_default=False)
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add it to the project's expectations.yaml.")
    ] = False,
    as_of: AsOf = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Infer expectations from a good data set.

    They are a starting point: they accept this very data set.
    Columns that look personal are pointed out. What is declared already is never changed.
    """
    from tidemill.data.expectations.declarations import EXPECTATIONS
    from tidemill.data.validation.expectations_addition import append_expectations
    from tidemill.data.validation.inference import infer as infer_from
    from tidemill.project import load_project

    try:
        loaded = load_project(project)
    except ProjectNotFound:
        if append or project is not None:
            raise
        loaded = None
    path = file.resolve()
    inside = loaded is not None and path.is_relative_to(loaded.root)
    source = str(path.relative_to(loaded.root)) if loaded and inside else str(path)
    called = _dataset_name(name, file)
    with progress() as tell:
        tell("infer", str(file), None, None)
        at = _moment(loaded, as_of) if loaded or as_of else None
        found = infer_from(path, called, source, at, classes=_classes(loaded))
    if append and loaded:
        append_expectations(loaded.root / EXPECTATIONS, found)
    place = str(loaded.root / EXPECTATIONS) if append and loaded else None
    facts = {
        "name": found.name,
        "yaml": found.document,
        "personal": dict(found.personal),
        "appended_to": place,
    }
    emit(facts, json, lambda console: _show_inferred(console, found, place))


def _show_inferred(console: Console, found: "Inferred", place: str | None) -> None:
    if place is None:
        console.out(found.document, end="", highlight=False)
        return
    console.print(f"✓ {place} declares {found.name} now: review it, and tighten its rules")
    for column, kind in found.personal.items():
        console.print(f"  {column} looks like {kind}")


def bias(
    dataset: Dataset = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Column to group by, in place of the declared ones; again for more.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Column of 0 and 1, or SQL, in place of the declared label.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the tables to this file too.", show_default=False)
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Compare groups: their shares and label rates.

    Each rate comes with its interval.
    """
    from tidemill.data.bias.group_comparison import compare_groups
    from tidemill.features.personal_fields import declared_columns
    from tidemill.project import load_project

    loaded = load_project(project)
    with progress() as tell:
        tell("bias", dataset or "", None, None)
        reports = compare_groups(loaded, dataset, by or (), label, personal=declared_columns(loaded))
    facts = {name: report.as_dict() for name, report in reports.items()}
    emit(facts, json, lambda console: _show_bias(console, reports))
    if html is not None:
        import io

        page = Console(record=True, file=io.StringIO(), width=140, highlight=False, markup=False)
        _show_bias(page, reports)
        try:
            page.save_html(str(html))
        except OSError as error:
            raise UsageError(
                f"{html} cannot be written: {error.strerror}", hint="name another file"
            ) from error


def _dataset_name(given: str | None, file: Path) -> str:
    """Return the name of a data set: the given one, or the file's."""
    import re

    name = given or re.sub(r"\W+", "_", file.name.partition(".")[0]).strip("_") or "data"
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", name):
        raise UsageError(f"{name!r} cannot be the name of a data set", hint="choose one with --name")
    return name


def _classes(project: "Project | None") -> list[str]:
    """Return the label, if it has classes."""
    if project is None or project.config.project.task not in ("binary", "multiclass"):
        return []
    return [project.config.dataset.label]


def _moment(project: "Project | None", as_of: str | None) -> Any:
    if as_of is not None or project is None:
        return moment(as_of) if as_of else None
    from tidemill.project.moments import declared_moment

    return declared_moment(project)


def _only_declared(project: "Project") -> str:
    from tidemill.data.expectations.declarations import declared_sets

    names = list(declared_sets(project).datasets)
    if len(names) > 1:
        raise UsageError(
            "--dataset is missing: it names the data set whose rules the file is checked against",
            hint=f"--dataset, one of {', '.join(names)}",
        )
    return names[0]


def _show_reports(console: Console, reports: "Mapping[str, SetReport]") -> None:
    for name, report in reports.items():
        if report.mode == "off":
            console.print(f"– {name}: {counted(report.rows, 'row')}, not checked (mode off)")
            continue
        mark = "✓" if not report.failed else "✗" if report.mode == "stop" else "!"
        passed = sum(check.outcome == "passed" for check in report.checks)
        console.print(
            f"{mark} {name}: {counted(report.rows, 'row')}, {report.failing:,} fail; "
            f"{passed} of {len(report.checks)} checks passed (mode {report.mode})"
        )
        table = Listing("check", "kind", "outcome", "rows", "detail")
        rest = [check for check in report.checks if check.outcome != "passed"]
        for check in rest:
            rows = f"{check.failing:,}" if check.failing else "–"
            table.add_row(check.check, check.kind, check.outcome, rows, check.detail or "–")
        if rest:
            console.print(table)


def _show_bias(console: Console, reports: "Mapping[str, BiasReport]") -> None:
    for name, report in reports.items():
        console.print(
            f"{name}: {report.label} for {_percent(report.rate)} of {report.labelled:,} labelled rows "
            f"({report.confidence:.0%} intervals; fewer than {report.min_rows} labelled rows are not judged)"
        )
        for column, groups in report.groups.items():
            table = Listing(column, "rows", "share", "rate", "ratio to the others", "q", "verdict")
            for group in groups:
                table.add_row(
                    group.group,
                    f"{group.rows:,}",
                    _percent(group.share),
                    _percent(group.rate),
                    _ratio(group.ratio),
                    "–" if group.q_value is None else f"{group.q_value:.2g}",
                    group.verdict,
                )
            console.print(table)


def _percent(share: "Proportion") -> str:
    if share.value is None or share.low is None or share.high is None:
        return "–"
    return f"{share.value:.1%} ({share.low:.1%}–{share.high:.1%})"


def _ratio(ratio: "Proportion") -> str:
    if ratio.value is None:
        return "–"
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"
