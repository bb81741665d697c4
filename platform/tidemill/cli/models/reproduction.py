"""``tidemill reproduce``: fit a version once more, and say whether it is the same."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.models.version_arguments import Model, Version, meant_version
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, print_indented
from tidemill.cli.progress_lines import progress
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.training.reproduction.verdict import Reproduction

__all__ = ["add_to"]

_DIFFERS = 1


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "reproduce", epilog="Examples: tidemill reproduce 3   ·   tidemill reproduce champion --within 1e-6"
    )(reproduce)


def reproduce(
    model: Model = None,
    version: Version = None,
    within: Annotated[
        float, typer.Option(min=0.0, help="Largest difference of two scores that counts as none.")
    ] = 1e-9,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Fit a version once more, and compare the two.

    Code and data are those of its training, in a folder of their own. The search is not repeated.
    Exit code 1: the models differ.
    """
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import get_version
    from tidemill.training.reproduction.reproduce import reproduce as fit_again

    loaded = load_project(project)
    model, version = meant_version(loaded, model, version)
    found = get_version(loaded, version, model)
    with progress() as tell:
        done = fit_again(loaded, found.run_id, within=within, tell=tell)
    facts = {"model": model, "version": found.version, "run_id": found.run_id, **vars(done)}
    emit(facts, json, lambda console: _render(console, f"{model} {found.version}", done))
    if done.verdict == "differs":
        raise typer.Exit(_DIFFERS)


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
        console.print(f"  {metric.name} {one} on record, {other} now")
    for reason in done.because:
        print_indented(console, f"because: {reason}")
    for change in done.environment if not done.because else ():
        print_indented(console, f"although the environment is another one: {change}")
