"""``tidemill runs import``: runs that TensorBoard, Weights & Biases or Comet recorded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "import",
        epilog="Examples: tidemill runs import wandb/   ·   tidemill runs import export.csv --metric 'val_*'",
    )(import_)


def import_(
    place: Annotated[
        Path, typer.Argument(metavar="PLACE", help="Their folder, or an exported file.", show_default=False)
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="A column of an exported table that is a metric, or a pattern like 'val_*'; the others are "
            "parameters. Again for more.",
            show_default=False,
        ),
    ] = None,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Record runs of TensorBoard, Weights & Biases or Comet as runs of the project.

    Of TensorBoard every folder with event files is a run, with all its scalars; of Weights & Biases every
    run folder, with settings and history, and the CSV of its table of runs, of its charts and of its API. Of
    Comet what `cometx download` wrote is read, archives of offline experiments, and exported tables and
    charts. What was imported before is not imported again.
    """
    from tidemill.project import load_project
    from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs, import_runs

    loaded = load_project(project)
    with progress() as tell:
        tell("read", f"{place}", None, None)
        found = find_foreign_runs(place, metric or ())
        tell("import", counted(len(found), "run"), None, None)
        own_act(loaded, "import", ("runs", str(place)), runs=len(found))()
        done = import_runs(loaded, found, lambda so_far: tell("import", "", so_far, len(found)))

    def render(console: "Console") -> None:
        table = Listing("run", "name", "from", "metrics", "")
        for one in done:
            state = "was imported before" if one.known else "imported"
            values = f"{one.metrics} (last values)" if one.last_only and one.metrics else str(one.metrics)
            table.add_row(one.run_id[:8], one.name, one.tool, values, state)
        console.print(table)
        new = sum(not one.known for one in done)
        console.print(
            f"{counted(new, 'run')} imported" + (f", {len(done) - new} before" if new < len(done) else "")
        )

    emit(done, json, render)
