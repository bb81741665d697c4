"""``tidemill reproduce``: fit a version once more, and say whether it is the same."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.models.version_arguments import Version, is_version, meant_version
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, print_indented
from tidemill.cli.progress_lines import progress
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.project import ProjectFolder
    from tidemill.training.reproduction.verdict import Reproduction

__all__ = ["add_to"]

_DIFFERS = 1
_RUN, _DIGITS = re.compile(r"[0-9a-fA-F]{4,32}"), 8


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "reproduce",
        epilog="Examples: tidemill reproduce 3   ·   tidemill reproduce champion --within 1e-6   ·   "
        "tidemill reproduce 4f1d22aa --rebuild",
    )(reproduce)


def reproduce(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|MODEL]", help="A run, or a model (default: the project's).", show_default=False
        ),
    ] = None,
    version: Version = None,
    within: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Largest difference of two scores that counts as none; of values above 1 this share.",
        ),
    ] = 1e-9,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="In an environment of its lock file or packages, built by uv.")
    ] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Fit a version or run once more, and compare the two.

    Code and data are those of its training, in a folder of their own. The search is not repeated.
    Exit code 1: the models differ.
    """
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import get_version
    from tidemill.training.reproduction.reproduce import reproduce as fit_again
    from tidemill.training.tracking.whole_runs import find_run_id

    loaded = load_project(project)
    if version is None and model is not None and _is_run(loaded, model):
        number, run_id = None, find_run_id(loaded, model)
        model, what = loaded.model, f"run {run_id[:8]}"
    else:
        model, version = meant_version(loaded, model, version)
        found = get_version(loaded, version, model)
        number, run_id, what = found.version, found.run_id, f"{model} {found.version}"
    with progress() as tell:
        done = fit_again(loaded, run_id, within=within, rebuilt=rebuild, tell=tell)
    facts = {"model": model, "version": number, "run_id": run_id, **vars(done)}
    emit(facts, json, lambda console: _render(console, what, done))
    if done.verdict == "differs":
        raise typer.Exit(_DIFFERS)


def _is_run(folder: "ProjectFolder", text: str) -> bool:
    """Return whether an argument is an id of a run, or the beginning of one; versions have fewer digits."""
    is_id = _RUN.fullmatch(text) is not None and not (text.isdecimal() and len(text) < _DIGITS)
    return is_id and text != folder.model and (text.isdecimal() or not is_version(folder, text))


def _render(console: "Console", what: str, done: "Reproduction") -> None:
    rows = counted(done.rows, "row")
    match done.verdict:
        case "bit-equal":
            console.print(
                f"✓ {what} is reproduced bit by bit: its answers to {rows} of the hold-out are equal"
            )
        case "equal":
            console.print(
                f"✓ {what} is reproduced: its answers to {rows} differ by {done.largest:.2g} at most"
            )
        case _:
            far = "" if done.largest is None else f": by {done.largest:.2g} at most, of {rows}"
            console.print(f"✗ {what} is not reproduced: its answers differ{far}")
    for name, (before, now) in done.metrics.items():
        metric = metric_of(name)
        one, other = ("–" if value is None else metric.number(value, 6) for value in (before, now))
        if before is not None and now is not None and one == other:
            console.print(f"  {metric.name} {one}, {abs(before - now):.2g} apart")
        else:
            console.print(f"  {metric.name} {one} on record, {other} now")
    for reason in done.because:
        print_indented(console, f"because: {reason}")
    for change in done.environment if not done.because else ():
        print_indented(console, f"although the environment is another one: {change}")
