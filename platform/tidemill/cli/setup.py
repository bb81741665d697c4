"""``tidemill init`` and ``tidemill demo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill init my-flights && cd my-flights && tidemill demo   ·   "
        "tidemill init my-flights --remote s3://bucket/flights --endpoint-url http://minio:9000",
    )(init)
    app.command(epilog="Example: tidemill demo --workspace /tmp/mill --json")(demo)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    remote: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URL",
            help="Where DVC keeps a second copy of the data: a folder, s3://bucket/path or "
            "ssh://user@host/path, with credentials from the environment (default: .tidemill/remote in it).",
            show_default=False,
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="Of an S3-compatible store.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a new project from the reference project.

    The folder becomes a git repository with DVC initialised.
    """
    from tidemill.data.repository.remotes import parse_remote
    from tidemill.data.repository.repository_setup import init_workspace
    from tidemill.project.scaffold import copy_project, new_folder, reference_project, without_leftovers

    place = parse_remote(remote or folder / ".tidemill" / "remote", endpoint_url)
    with without_leftovers(place.folder or folder), new_folder(folder):
        written = copy_project(reference_project(), folder)
        init_workspace(folder, place.address, endpoint_url)

    def render(console: "Console") -> None:
        console.print(f"✓ {folder}: {len(written)} files, a git repository with DVC initialised")
        console.print(f"  next: cd {folder} && tidemill run --promote, then tidemill up")

    emit({"project": folder.resolve(), "files": written}, json, render)


def demo(
    project: ProjectDir = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Folder to work in; remade each time (default: workspace/ in the project).",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the whole loop on a year of history.

    It trains, serves, watches and retrains: one candidate is promoted, one is refused.
    """
    from tidemill.demo.demo_summary import render_summary
    from tidemill.errors import ProjectNotFound
    from tidemill.project import load_project
    from tidemill.project.scaffold import reference_project

    try:
        source = load_project(project).root
    except ProjectNotFound:
        if project is not None:
            raise
        source = reference_project()
    target = workspace or (source if project or source != reference_project() else Path.cwd()) / "workspace"
    with progress() as tell:
        tell("engines", "loading DVC, Feast, Ray, MLflow and Evidently", None, None)
        from tidemill.demo.demo_run import run_demo

        facts = run_demo(source, target, tell)
    emit(facts, json, lambda console: render_summary(facts, console))
