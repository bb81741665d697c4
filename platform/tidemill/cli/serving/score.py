"""``tidemill score``: whole tables through a model version, by hand or by a schedule."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.cli.serving.score_schedules import schedule_app
from tidemill.errors import UsageError
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.scoring.scoring_job import ScoreRequest

__all__ = ["add_to"]

score_app = typer.Typer(
    help="Score tables in bulk, now or by a schedule.",
    epilog="Examples: tidemill score --input flights.parquet --output scores --at-column departure   ·   "
    "tidemill score --input 's3://lake/2013/*.parquet' --output s3://lake/scores --columns --resume",
    invoke_without_command=True,
    no_args_is_help=True,
    subcommand_metavar="[schedule ...]",
)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    score_app.callback()(score)
    score_app.add_typer(schedule_app, name="schedule")
    app.add_typer(score_app, name="score")


_Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        help="Parquet, CSV or ndjson: a file, a folder, a pattern, an address like s3://…; repeatable.",
        show_default=False,
    ),
]
_Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="A new folder, or a file .parquet or .csv.", show_default=False),
]
_Version = Annotated[str, typer.Option("--model-version", help="Number or alias; an alias is resolved once.")]
_Columns = Annotated[
    bool, typer.Option("--columns", help="Features are columns of the input (default: if all are there).")
]
_Keys = Annotated[
    bool, typer.Option("--keys", help="Features are looked up by key, as known at each row's moment.")
]
_Online = Annotated[bool, typer.Option("--online", help="Features are the latest ones of the online store.")]
_AtColumn = Annotated[
    str | None,
    typer.Option(
        help="Column with the moment of each prediction (default: event_timestamp).", show_default=False
    ),
]
_At = Annotated[str | None, typer.Option(metavar="WHEN", help="One moment for all rows.", show_default=False)]
_Rename = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=OURS",
        help="A column that is called otherwise; may be repeated.",
        show_default=False,
    ),
]
_Keep = Annotated[
    str, typer.Option(help="Columns to keep: rest (all that are no features), all, none, or A,B,C.")
]
_Decide = Annotated[
    bool | None,
    typer.Option(
        "--decide/--no-decide",
        help="Rows are instances of the request, and get a decision (default: if they have its columns).",
        show_default=False,
    ),
]
_Form = Annotated[
    str | None, typer.Option("--format", help="parquet or csv (default: by the output's name).")
]
_MaxRejected = Annotated[
    int, typer.Option(min=0, help="With more rejected rows than this nothing is published.")
]
_Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes on Ray; 0: threads here (default: by the work).", show_default=False),
]
_PartRows = Annotated[int | None, typer.Option(min=1, help="Rows of a part, roughly.", show_default=False)]


def score(
    context: typer.Context,
    inputs: _Inputs = None,
    output: _Output = None,
    version: _Version = "champion",
    columns: _Columns = False,
    keys: _Keys = False,
    online: _Online = False,
    at_column: _AtColumn = None,
    at: _At = None,
    rename: _Rename = None,
    keep: _Keep = "rest",
    decide: _Decide = None,
    form: _Form = None,
    max_rejected: _MaxRejected = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was killed.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget a run that was killed.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier output.")] = False,
    workers: _Workers = None,
    part_rows: _PartRows = None,
    log: Annotated[bool, typer.Option("--log", help="Into the prediction log, too.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Score tables in bulk, now or by a schedule.

    Each row is scored once; the output is published whole or not at all.
    """
    if context.invoked_subcommand is not None:
        return
    if not inputs or not output:
        raise UsageError("--input and --output are needed", hint="tidemill score --help")
    features = _chosen(columns=columns, keys=keys, online=online)
    existing = _chosen(resume=resume, restart=restart) or "refuse"
    from tidemill.scoring.scoring_job import ScoreRequest

    request = ScoreRequest(
        inputs=tuple(inputs),
        output=output,
        version=version,
        features=cast("Any", features),
        at_column=at_column,
        at=moment(at) if at else None,
        keep=_keep(keep),
        rename=_renamed(rename or []),
        decide=decide,
        format=_known_format(form),
        log=log,
        max_rejected=max_rejected,
        existing=cast("Any", existing),
        overwrite=overwrite,
        workers=workers,
        part_rows=part_rows,
    )
    _score(project, request, json)


def _score(project: Path | None, request: "ScoreRequest", json: bool) -> None:
    from tidemill.project import load_project
    from tidemill.scoring.score import score as run
    from tidemill.serving.runtime.local_stack import attach

    with progress() as tell:
        outcome = run(attach(load_project(project)), request, tell)
    _show(outcome, json)


def _known_format(form: str | None) -> 'Literal["parquet", "csv"] | None':
    if form not in (None, "parquet", "csv"):
        raise UsageError(f"--format {form} is not known", hint="parquet or csv")
    return cast("Literal['parquet', 'csv'] | None", form)


def _show(outcome: Any, json: bool) -> None:
    """Show the result of a batch scoring."""
    manifest = outcome.manifest
    facts = {
        "output": outcome.output,
        "rejects": outcome.rejects,
        "resumed_parts": outcome.resumed,
        **{name: manifest[name] for name in ("model", "version", "rows", "scored", "rejected", "seconds")},
    }

    def render(console: "Console") -> None:
        rate = manifest["rows"] / max(manifest["seconds"], 1e-9)
        console.print(
            f"✓ {counted(manifest['scored'], 'row')} scored by {manifest['model']} {manifest['version']} "
            f"in {manifest['seconds']:.1f} s" + ("" if outcome.resumed else f" ({rate:,.0f} rows/s)")
        )
        if outcome.resumed:
            parts = counted(len(manifest["parts"]), "part")
            console.print(f"  finished before: {outcome.resumed} of {parts}")
        if gone := manifest["features"].get("missing"):
            console.print(f"  missing in all rows: {', '.join(gone)}")
        if outcome.rejects:
            console.print(f"  rejected: {counted(manifest['rejected'], 'row')}, see {outcome.rejects}")
        console.print(f"  {outcome.output}")

    emit(facts, json, render)


def _chosen(**switches: bool) -> str | None:
    """Return the name of the switch that is set, of those that exclude each other.

    >>> _chosen(keys=True, online=False), _chosen(keys=False)
    ('keys', None)
    """
    chosen = [name for name, is_set in switches.items() if is_set]
    if len(chosen) > 1:
        raise UsageError(
            f"{' and '.join(f'--{name}' for name in chosen)} exclude each other", hint="give one of them"
        )
    return chosen[0] if chosen else None


def _keep(text: str) -> tuple[str, ...] | None:
    """Read what is to be kept.

    >>> _keep("rest"), _keep("none"), _keep("id, depot"), _keep("all")
    (None, (), ('id', 'depot'), ('*',))
    """
    match text:
        case "rest":
            return None
        case "none":
            return ()
        case "all":
            return ("*",)
        case _:
            return tuple(name.strip() for name in text.split(","))


def _renamed(texts: list[str]) -> dict[str, str]:
    """Read NAME=OURS pairs.

    >>> _renamed(["airline=carrier"])
    {'airline': 'carrier'}
    """
    pairs = {}
    for text in texts:
        given, equals, ours = text.partition("=")
        if not (given and equals and ours):
            raise UsageError(f"--rename {text}: not NAME=OURS", hint="for example --rename airline=carrier")
        pairs[given] = ours
    return pairs
