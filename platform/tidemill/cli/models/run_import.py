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
    app.command("import", epilog="Examples: tidemill runs import runs/   ·   tidemill runs import wandb/")(
        import_
    )


def import_(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they lie.", show_default=False)],
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Record runs of TensorBoard, Weights & Biases or Comet as runs of the project.

    Of TensorBoard every folder with event files is a run, with all its scalars; of Weights & Biases every
    run folder, with settings and history. Of Comet what `cometx download` wrote is read, and archives of
    offline experiments. What was imported before is not imported again.
    """
    from tidemill.project import load_project
    from tidemill.training.tracking.foreign_runs.run_import import find_foreign_runs, import_runs

    loaded = load_project(project)
    with progress() as tell:
        tell("read", f"{folder}", None, None)
        found = find_foreign_runs(folder)
        tell("import", counted(len(found), "run"), None, None)
        own_act(loaded, "import", ("runs", str(folder)), runs=len(found))()
        done = import_runs(loaded, found)

    def render(console: "Console") -> None:
        table = Listing("run", "name", "from", "metrics", "")
        for one in done:
            state = "was imported before" if one.known else "imported"
            table.add_row(one.run_id[:8], one.name, one.tool, str(one.metrics), state)
        console.print(table)

    emit(done, json, render)
