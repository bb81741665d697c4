"""``tidemill runs explain``: which differences between two runs made the gain."""

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.listing import Listing, shorten
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, print_indented
from tidemill.cli.progress_lines import progress
from tidemill.errors import UsageError
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.tasks.paired_bootstrap import Interval
    from tidemill.training.reproduction.gain_shares import Explanation

__all__ = ["add_to"]

_INTERRUPTED = 130


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "explain",
        epilog="Examples: tidemill runs explain 4f1d22aa 9c0e   ·   "
        "tidemill runs explain 4f1d22aa 9c0e --refits 8 --minutes 30",
    )(explain)


def explain(
    run: Annotated[str, typer.Argument(metavar="A", help="The run to begin with.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="B", help="The run whose gain it is.", show_default=False)],
    refits: Annotated[
        int | None, typer.Option(min=0, help="Fit at most so many models now: 3 or more.", show_default=False)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="Begin no fit after so many.", show_default=False)
    ] = None,
    each: Annotated[bool, typer.Option("--each-parameter", help="Count each parameter alone.")] = False,
    project: ProjectDir = None,
    json: AsJson = False,
) -> None:
    """Say which differences between two runs made the gain.

    Without --refits or --minutes only the differences are named. With one of them A is fitted once more for
    each, taken from B, and all are judged on the same rows. What was fitted is kept: the same command goes on
    from there.
    """
    from tidemill.project import load_project
    from tidemill.training.reproduction.explain import explain as explained
    from tidemill.training.tracking.whole_runs import find_run_id

    loaded = load_project(project)
    a, b = (find_run_id(loaded, name) for name in (run, other))
    if a == b:
        raise UsageError("runs explain needs two different runs", hint="`tidemill runs list` shows them")
    most = 0 if refits is None and minutes is None else refits
    with progress() as tell:
        found = explained(loaded, a, b, refits=most, minutes=minutes, each_parameter=each, tell=tell)
    emit(found, json, lambda console: _render(console, found))
    if found.stopped == "interrupted":
        raise typer.Exit(_INTERRUPTED)


def _render(console: "Console", found: "Explanation") -> None:
    metric, (a, b) = metric_of(found.metric), shorten(found.runs).values()
    if found.total is not None:
        before, after = ("–" if value is None else metric.number(value) for value in found.values)
        said = f"{metric.name} of {a} {before}, of {b} {after}"
        console.print(f"{said}, on {counted(found.rows, 'row')} that none learnt from")
        console.print(f"gain {_gain(found.total, found.total_interval)}")
    if not found.gains:
        console.print("the runs differ in nothing that can be exchanged: tidemill runs diff")
    table = Listing("difference", "gain alone", a, b)
    for one in found.gains:
        table.add_row(one.factor.name, _gain(one.gain, one.interval), *one.factor.values)
    if found.gains:
        console.print(table)
    for one in found.gains:
        if one.problem:
            print_indented(console, f"{one.factor.name}: {one.problem}")
    if found.interaction is not None and len(found.gains) > 1:
        console.print(f"{found.interaction:+.4f} comes only of several differences together")
    if found.not_exchanged:
        print_indented(
            console, f"not exchanged, all were fitted with what is here: {', '.join(found.not_exchanged)}"
        )
    if found.gains and (left := _what_is_left(found)):
        print_indented(console, left)


def _what_is_left(found: "Explanation") -> str | None:
    """Return which fits are left, and how many of them the next difference takes; None: all were made."""
    left = found.needed - found.fits - found.kept
    ends = 2 - found.fits - found.kept
    if found.total is None and ends > 0:
        least = min(left, ends + 1)
        what = "the differences" if least == left else f"the first difference, --refits {left} all"
        return f"no difference is measured: both runs are fitted first; --refits {least} measures {what}"
    if found.stopped is None:
        return f"--refits {left} measures the rest" if left else None
    said = f"{counted(left, 'fit')} left ({found.stopped}): the same command goes on from there"
    if any(one.gain is not None or one.problem for one in found.gains):
        return said
    return f"no difference is measured yet, only both runs were fitted; --refits 1 measures the next: {said}"


def _gain(value: float | None, interval: "Interval | None") -> str:
    """Return a gain with its interval.

    >>> _gain(0.0123, None), _gain(None, None)
    ('+0.0123', '–')
    """
    if value is None:
        return "–"
    between = "" if interval is None else f" ({interval.low:+.4f} to {interval.high:+.4f})"
    return f"{value:+.4f}{between}"
