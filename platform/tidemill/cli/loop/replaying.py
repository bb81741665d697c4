"""``tidemill replay`` and ``tidemill demo``: the whole loop on history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit
from tidemill.cli.progress_lines import progress
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.cli.progress_lines import Tell
    from tidemill.replay.replay_periods import Facts

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill replay   ·   tidemill replay --from 2024-03-01 --to 2024-06-01 --rate 200 "
        "  ·   tidemill replay --labels-after 2d --json",
    )(replay)
    app.command(epilog="Example: tidemill demo --workspace /tmp/mill --json")(demo)


_Start = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="WHEN",
        help="The first model learns what was known by then; later rows are played (ISO 8601, UTC; "
        "default: after 60 % of the rows).",
        show_default=False,
    ),
]
_End = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="WHEN",
        help="The replay ends here (default: after the last row).",
        show_default=False,
    ),
]
_Rate = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Rows a day, at most (default: all, but no more than 20,000 in all).",
        show_default=False,
    ),
]
_LabelsAfter = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="How long after its time a row's label is known, as 2d (default: as in params.yaml).",
        show_default=False,
    ),
]
_Workspace = Annotated[
    Path | None,
    typer.Option(
        help="Folder to work in; remade each time (default: workspace/ in the project).",
        show_default=False,
    ),
]


def replay(
    project: ProjectDir = None,
    start: _Start = None,
    end: _End = None,
    rate: _Rate = None,
    labels_after: _LabelsAfter = None,
    workspace: _Workspace = None,
    json: AsJson = False,
) -> None:
    """Play past rows as traffic through the whole loop.

    In a copy of the project a first model learns the earlier rows. The later ones are sent to the prediction
    API at their own time, and their labels when they became known; monitors and policies run as they would
    have.
    """
    from tidemill.clock import parse_duration
    from tidemill.project import load_project
    from tidemill.replay.replay_request import ReplayRequest, require_replayable

    if labels_after is not None:
        try:
            parse_duration(labels_after)
        except ValueError as error:
            raise UsageError(f"--labels-after: {error}", hint="write it like 2d") from error
    loaded = load_project(project)
    source = loaded.root
    first, last = moment(start) if start else None, moment(end) if end else None
    wanted = ReplayRequest(first, last, rate, labels_after)
    require_replayable(loaded, wanted)  # now: loading the engines takes long

    def play(tell: "Tell") -> "Facts":
        from tidemill.replay.replay_run import run_replay

        return run_replay(source, workspace or source / "workspace", wanted, tell)

    _play(play, "DVC, Ray, MLflow and Evidently", json)


def demo(project: ProjectDir = None, workspace: _Workspace = None, json: AsJson = False) -> None:
    """Run the whole loop on a year of history.

    It trains, serves, watches and retrains: one candidate is promoted, one is refused.
    """
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

    def play(tell: "Tell") -> "Facts":
        from tidemill.demo.demo_run import run_demo

        return run_demo(source, target, tell)

    _play(play, "DVC, Feast, Ray, MLflow and Evidently", json)


def _play(play: "Callable[[Tell], Facts]", engines: str, json: bool) -> None:
    """Run the loop with its progress shown, then show what came of it."""
    from tidemill.replay.replay_summary import render_summary

    with progress() as tell:
        tell("engines", f"loading {engines}", None, None)
        facts = play(tell)
    emit(facts, json, lambda console: render_summary(facts, console))
