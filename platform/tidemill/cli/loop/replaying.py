"""``tidemill replay``."""

from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.errors import UsageError

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: tidemill replay   ·   tidemill replay --from 2024-03-01 --to 2024-06-01 --rate 200 "
        "  ·   tidemill replay --labels-after 2d --json",
    )(replay)


def replay(
    project: ProjectDir = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHEN",
            help="The first model learns what was known by then; later rows are played (ISO 8601, UTC; "
            "default: after 60 % of the rows).",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="WHEN",
            help="The replay ends here (default: after the last row).",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Rows a day, at most (default: all, but no more than 20,000 in all).",
            show_default=False,
        ),
    ] = None,
    labels_after: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long after its time a row's label is known, as 2d (default: as in params.yaml).",
            show_default=False,
        ),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            help="Folder to work in; remade each time (default: workspace/ in the project).",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Play past rows as traffic through the whole loop.

    In a copy of the project a first model learns the earlier rows. The later ones are sent to the prediction
    API at their own time, and their labels when they became known; monitors and policies run as they would
    have.
    """
    from tidemill.clock import parse_duration
    from tidemill.project import load_project
    from tidemill.replay.replay_summary import render_summary

    if labels_after is not None:
        try:
            parse_duration(labels_after)
        except ValueError as error:
            raise UsageError(f"--labels-after: {error}", hint="write it like 2d") from error
    source = load_project(project).root
    first, last = moment(start) if start else None, moment(end) if end else None
    with progress() as tell:
        tell("engines", "loading DVC, Ray, MLflow and Evidently", None, None)
        from tidemill.replay.replay_run import ReplayWish, run_replay

        wish = ReplayWish(first, last, rate, labels_after)
        facts = run_replay(source, workspace or source / "workspace", wish, tell)
    emit(facts, json, lambda console: render_summary(facts, console))
