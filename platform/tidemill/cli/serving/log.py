"""``tidemill log``: the prediction log and its labels."""

from dataclasses import asdict
from json import loads as from_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import as_json, emit, format_moment, print_indented
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.errors import UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from tidemill.prediction_log.reading.log_counts import Files, LogCounts
    from tidemill.project import Project

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Examples: tidemill log status   ·   tidemill log status --json")(status)
    app.command(epilog="Example: tidemill log compact")(compact)
    app.command(epilog="Examples: tidemill log prune --dry-run   ·   tidemill log prune --before 2013-04-01")(
        prune
    )
    app.command(
        epilog="Examples: tidemill log show   ·   tidemill log show pred_01hzzzzzzz0000000000000000 --json"
    )(show)
    app.command(
        epilog="Examples: tidemill log labels late.csv   ·   tidemill log labels outcomes.parquet --json"
    )(labels)


def status(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show what the log holds, and how large it is."""
    from tidemill.prediction_log.reading.log_counts import count_files, count_log
    from tidemill.project import load_project

    loaded = load_project(project)
    root, config = loaded.predictions, loaded.config.serve.log
    counts = count_log(root, loaded.model)
    files = {kind: count_files(root, loaded.model, kind) for kind in ("predictions", "labels")}
    facts = {
        "model": loaded.model,
        **asdict(counts),
        "files": {kind: asdict(each) for kind, each in files.items()},
        "store": config.store,
        "retention_days": config.retention_days,
        "sync_seconds": config.sync_seconds,
    }

    def render(console: "Console") -> None:
        _render_counts(console, loaded, counts)
        _render_files(console, files)
        kept = "all of it" if config.retention_days is None else counted(config.retention_days, "day")
        print_indented(console, f"parts go to {config.store or root}; kept: {kept}")

    emit(facts, json, render)


def _render_counts(console: "Console", project: "Project", counts: "LogCounts") -> None:
    console.print(
        f"{project.model}: {counted(counts.predictions, 'prediction')}, {format_moment(counts.first_at)} to "
        f"{format_moment(counts.last_at)}; {counted(counts.labels, 'label')}"
    )
    print_indented(console, f"of them {counts.test:,} test traffic, {counted(counts.shadows, 'shadow')}")
    classes = project.config.dataset.classes or (0, 1)
    two = project.task.kind == "binary"
    wrong = f"other than {' and '.join(map(str, classes))}" if two else "without a value"
    print_indented(
        console,
        f"{counted(counts.unmatched, 'label')} without a prediction, "
        f"{counted(counts.contradicted, 'prediction')} with different labels, "
        f"{counted(counts.invalid, 'label')} {wrong}, {counted(counts.torn, 'line')} torn by crashes",
    )


def _render_files(console: "Console", files: "Mapping[str, Files]") -> None:
    table = Listing("", "segments", "MiB", "parts", "rows", "MiB")
    for kind, each in files.items():
        table.add_row(
            kind,
            f"{each.segments:,}",
            f"{each.segment_bytes / 2**20:,.1f}",
            f"{each.parts:,}",
            f"{each.part_rows:,}",
            f"{each.part_bytes / 2**20:,.1f}",
        )
    console.print(table)


def compact(project: ProjectDir = None, json: AsJson = False) -> None:
    """Compact the log to Parquet now.

    Files that a replica still writes to are left. The controller compacts the log by itself, too.
    """
    from tidemill.prediction_log.storage.log_parts import Sizes
    from tidemill.prediction_log.upkeep.compaction import compact as compact_log
    from tidemill.prediction_log.upkeep.housekeeping import place_of
    from tidemill.project import load_project

    loaded = load_project(project)
    with progress() as tell:
        done = compact_log(
            loaded.predictions,
            loaded.model,
            place_of(loaded),
            Sizes().all_of_it(),
            tell=lambda message, done, total: tell("compact", message, done >> 20, total >> 20),
        )

    def render(console: "Console") -> None:
        console.print(
            f"✓ {counted(done.rows, 'record')} of {counted(done.segments, 'segment')}: "
            f"{done.bytes_before / 2**20:,.1f} MiB are {done.bytes_after / 2**20:,.1f} MiB in "
            f"{counted(done.parts, 'part')}"
        )
        if done.torn:
            console.print(f"  left out: {counted(done.torn, 'line')} torn by crashes")

    emit(done, json, render)


def prune(
    before: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="First event date to keep (default: by serve.log.retention_days).",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")
    ] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Delete predictions and labels of old event dates."""
    from tidemill.prediction_log.upkeep.retention import kept_from
    from tidemill.prediction_log.upkeep.retention import prune as prune_log
    from tidemill.project import load_project

    loaded = load_project(project)
    days = loaded.config.serve.log.retention_days
    if before is None and days is None:
        raise UsageError(
            "there is no date to delete before", hint="give --before DATE, or set serve.log.retention_days"
        )
    first = moment(before).date() if before is not None else kept_from(SystemClock().now(), days or 0)
    if not dry_run:
        own_act(loaded, "prune", ("prediction", "log"), before=first.isoformat())()
    done = prune_log(loaded.predictions, loaded.model, first, dry_run)
    facts = asdict(done) | {
        "before": done.before.isoformat(),
        "dates": [day.isoformat() for day in done.dates],
        "dry_run": dry_run,
    }

    def render(console: "Console") -> None:
        verb = "would go" if dry_run else "is gone" if len(done.dates) == 1 else "are gone"
        console.print(
            f"{counted(len(done.dates), 'date')} before {done.before} {verb}: "
            f"{counted(done.predictions, 'prediction')} and {counted(done.labels, 'label')}, "
            f"{done.bytes / 2**20:,.1f} MiB"
        )
        if done.in_use:
            console.print(f"  kept: {counted(done.in_use, 'segment')} that a replica still writes to")

    emit(facts, json, render)


def show(
    prediction: Annotated[
        str | None, typer.Argument(help="Id of one prediction, for all of it.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many of the latest.")] = 10,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Show the latest predictions, or one with its labels.

    The latest are those of the latest event time.
    """
    from tidemill.project import load_project

    loaded = load_project(project)
    if prediction is None:
        _show_latest(loaded, last, json)
    else:
        _show_one(loaded, prediction, json)


def _show_one(project: "Project", identifier: str, json: bool) -> None:
    from tidemill.prediction_log.search.record_search import find_labels, find_prediction

    record = find_prediction(project.predictions, project.model, identifier)
    if record is None:
        raise UsageError(
            f"the log of {project.model} has no prediction {identifier!r}",
            hint="`tidemill log show` lists the latest predictions",
        )
    facts = record | {"labels": find_labels(project.predictions, project.model, identifier)}

    def render(console: "Console") -> None:
        console.print_json(data=_rounded(facts))

    emit(facts, json, render)


def _answer(text: str | None) -> str:
    """Return an answer of the log, which is JSON, as people read it.

    >>> _answer('{"class": "b", "probabilities": {"a": 0.25000000000000006, "b": 0.75}}')
    'class: b, probabilities: a: 0.25, b: 0.75'
    >>> _answer("[0.12345678901234567, 2]")
    '[0.1235, 2]'
    """
    return "–" if text is None else _plain(_rounded(from_json(text)))


def _rounded(value: Any) -> Any:
    """Return JSON values with numbers of four significant digits after the point at most."""
    match value:
        case float():
            return float(f"{value:.4g}") if abs(value) < 1 else round(value, 4)
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list():
            return [_rounded(each) for each in value]
        case _:
            return value


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items())
    return value if isinstance(value, str) else as_json(value)


def _show_latest(project: "Project", count: int, json: bool) -> None:
    from tidemill.prediction_log.prediction_log import read_latest

    shown = ("prediction_id", "at", "version", "role", "score", "answer", "flags", "keys")
    rows: list[dict[str, Any]] = read_latest(project.predictions, project.model, count, shown).rows(
        named=True
    )

    def render(console: "Console") -> None:
        whole = ["answer"] if any(row["answer"] for row in rows) else []
        table = Listing("prediction", "at", "version", "role", "score", *whole, "flags", "keys")
        for row in rows:
            table.add_row(
                row["prediction_id"],
                format_moment(row["at"]),
                row["version"],
                row["role"] or "–",
                "–" if row["score"] is None else f"{row['score']:.3f}",
                *(_answer(row[name]) for name in whole),
                " ".join(row["flags"]),
                row["keys"] or "–",
            )
        console.print(table)

    emit(rows, json, render)


def labels(
    file: Annotated[
        Path,
        typer.Argument(
            help="Parquet, CSV or NDJSON: label, at; and prediction_id, or predicted_at and the entity keys.",
            show_default=False,
        ),
    ],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Import labels from a file into the log.

    Importing a file again changes no label.
    """
    from tidemill.prediction_log.bulk_labels import import_label_file
    from tidemill.project import load_project

    loaded = load_project(project)
    act = own_act(loaded, "import", ("labels", "log"), file=file.name)
    done = import_label_file(loaded, file, SystemClock(), act)

    def render(console: "Console") -> None:
        how = f"by {', '.join(done.keys)} and predicted_at" if done.keys else "by prediction_id"
        without = f"without a prediction in the log: {done.unmatched:,}"
        console.print(f"✓ {counted(done.labels, 'label')}, {how}; {without}")
        if done.blank:
            console.print(f"  set aside, as they have no label: {counted(done.blank, 'row')}")
        if done.unnamed:
            lacking = "predicted_at" if done.keys else "prediction_id"
            console.print(f"  set aside, as they have no {lacking}: {counted(done.unnamed, 'row')}")

    emit(done, json, render)
