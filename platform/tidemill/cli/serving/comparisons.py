"""Shows comparisons of versions to people."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill.cli.listing import Listing
from tidemill.cli.output import print_indented
from tidemill.cli.serving.shares import as_percent
from tidemill.plurals import counted
from tidemill.rollouts.comparison_results import Agreement, Comparison
from tidemill.rollouts.group_differences import Difference
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_comparison"]


def render_comparison(console: "Console", name: str, found: Comparison | Agreement) -> None:
    """Show one report: a table of numbers, then what they mean."""
    table = Listing("", f"version {found.version}", f"champion {found.champion}", "difference", "95 % sure")
    if isinstance(found, Comparison):
        console.print(f"{name}: version {found.version} with {as_percent(found.share)} of the keys")
        for label, pair in (("answers", found.answers), ("keys", found.keys), ("labelled", found.labelled)):
            table.add_row(label, f"{pair[0]:,}", f"{pair[1]:,}", "", "")
        _add_quality(table, found.quality)
        for one in (found.score, *found.decisions):
            _add(table, one)
    else:
        console.print(f"{name}: version {found.version} on the same {counted(found.answers, 'request')}")
        _add_quality(table, found.quality)
    if table.row_count:
        console.print(table)
    for sentence in found.says:
        print_indented(console, sentence)


def _add_quality(table: Listing, found: Difference | None) -> None:
    """Add a line of the gate's metric, by its own name and sign."""
    if found is None:
        return
    metric = metric_of(found.name)
    if metric.sign > 0:
        _add(table, replace(found, name=metric.name))
        return
    ours, theirs, low, high = -found.ours, -found.theirs, -found.high, -found.low
    shown = replace(found, name=f"{metric.name}{metric.remark}", ours=ours, theirs=theirs, gain=-found.gain)
    _add(table, replace(shown, low=low, high=high))


def _add(table: Listing, found: Difference | None) -> None:
    if found is not None:
        table.add_row(
            found.name,
            f"{found.ours:.4f}",
            f"{found.theirs:.4f}",
            f"{found.gain:+.4f}",
            f"{found.low:+.4f} to {found.high:+.4f}",
        )
