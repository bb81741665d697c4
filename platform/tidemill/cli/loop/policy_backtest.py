"""``tidemill policies backtest``: what policies would have been worth on the project's past."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.loop.set_aside import read_later, said_unplayed
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, print_indented, print_wrapped
from tidemill.cli.progress_lines import progress
from tidemill.clock import SystemClock
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.retraining.backtest.strategies import Gate, Proof

__all__ = ["add_to"]

_WITH_CPU = 100
"""Columns of a terminal from which on there is room for CPU times."""


class GateBy(Enum):
    """Values of ``gate.by`` in params.yaml."""

    gain = "gain"
    interval = "interval"


class ProofBy(Enum):
    """Values of ``serve.rollout.proof.by`` in params.yaml, and ``none``."""

    none = "none"
    gain = "gain"
    interval = "interval"
    lasting = "lasting"


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "backtest",
        epilog="Examples: tidemill policies backtest --fast   ·   tidemill policies backtest "
        "--from 2013-04-01 --policy keep-fresh --proof none --proof lasting --svg decisions.svg",
    )(backtest)


def backtest(
    project: ProjectDir = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHEN",
            help="The first model learns what was known by then (default: after a quarter of the time, or "
            "when enough is known to split).",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHEN", help="The end (default: the last row).", show_default=False),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A policy; may be repeated (default: all).", show_default=False),
    ] = None,
    gate: Annotated[
        list[GateBy] | None,
        typer.Option(
            metavar="gain|interval",
            help="Play with this gate.by; may be repeated, to compare (default: that of params.yaml).",
            show_default=False,
        ),
    ] = None,
    proof: Annotated[
        list[ProofBy] | None,
        typer.Option(
            metavar="none|gain|interval|lasting",
            help="Play with this serve.rollout.proof.by, or without a proof; may be repeated, to compare "
            "(default: that of params.yaml).",
            show_default=False,
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Fit on samples of 20,000 rows.")] = False,
    max_fits: Annotated[int, typer.Option(min=1, help="Leave out what takes more fits than this.")] = 60,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the months here.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Play the policies over the training set's past, beside never, always and an oracle.

    At each moment monitors, policies and the gate see only rows that were over, and labels that were known.
    The result goes on record: the dashboard's page of policies shows the latest one.
    """
    from tidemill.project import load_project
    from tidemill.project.moments import declared_moment
    from tidemill.state import open_state

    loaded = load_project(project)
    first, last = moment(start) if start else None, moment(end) if end else None
    state = open_state(loaded.state_url)  # before minutes of work: it says if nothing can be recorded
    with progress() as tell:
        tell("engines", "loading", None, None)
        from tidemill.retraining.backtest.backtest import BacktestRequest, run_backtest
        from tidemill.retraining.backtest.backtest_record import keep_backtest
        from tidemill.retraining.backtest.picture import as_svg

        gates: tuple[Gate, ...] = tuple(each.value for each in gate or ())
        proofs: tuple[Proof, ...] = tuple(each.value for each in proof or ())
        wanted = BacktestRequest(first, last, tuple(policy or ()), fast, max_fits, gates, proofs)
        found = run_backtest(loaded, wanted, lambda step, message: tell(step, message, None, None))
    kept = keep_backtest(state, loaded.model, found, loaded.settings.who, SystemClock().now())
    if svg is not None:
        from tidemill.files.atomic import replace_file

        replace_file(svg, as_svg(loaded.model, found.metric, found.played))
    later = 0 if end else read_later(loaded)
    facts = {**found.as_dict(), "id": kept, "later_rows": later, "known_until": declared_moment(loaded)}
    emit(facts, json, lambda console: _render_backtest(console, facts, svg))


def _render_backtest(console: "Console", facts: dict[str, Any], svg: Path | None) -> None:
    metric = metric_of(facts["metric"])
    headers = "strategy", f"mean {metric.name}", "promoted", "wrong", "surely", "worse, expected"
    wide = console.width >= _WITH_CPU
    table = Listing(*headers, *["CPU s"] * wide)
    for each in facts["strategies"]:
        mean = "–" if each["mean"] is None else metric.number(each["mean"])
        table.add_row(
            each["name"],
            mean,
            f"{each['promoted']} of {each['retrainings']}",
            str(each["wrong_promotions"]),
            str(each["surely_wrong"]),
            _expected(each["expected_worse"]),
            *[f"{each['cpu_seconds']:.1f}"] * wide,
        )
    months = ", ".join(facts["strategies"][0]["periods"])
    print_wrapped(console, f"by month, {months}; {counted(facts['fits'], 'fit')} of {facts['family']}")
    console.print(table)
    for said in facts["conclusion"]:
        print_wrapped(console, said)
    for each in facts["strategies"]:
        if not each["policies"]:
            continue
        console.print(f"{each['name']}:{'' if each['turns'] else ' no turn'}", markup=False)
        for turn in each["turns"]:
            gain = "" if turn["gain"] is None else f", {turn['gain']:+.4f} in the 30 days after"
            window = "" if turn["window"] is None else f", on the window: {turn['window']}"
            proof = "" if turn["proof"] is None else f" (proof: {turn['proof']})"
            said = f"{turn['status'].replace('_', ' ')}{proof}{window}{gain}: {turn['reason']}"
            print_wrapped(console, f"  {turn['at']:%Y-%m-%d} {said}", "    ")
    if facts["later_rows"]:
        print_wrapped(console, said_unplayed(facts["later_rows"], facts["known_until"]))
    for note in facts["notes"]:
        print_indented(console, note)
    if svg is not None:
        console.print(f"✓ {svg}")


def _expected(worse: dict[str, Any] | None) -> str:
    """Return how many promotions were truly worse, with the 90 % interval.

    >>> _expected({"mean": 0.62, "low": 0, "high": 2}), _expected({"mean": 0.0, "low": 0, "high": 0})
    ('0.6 (0–2)', '0.0 (0–0)')
    """
    return "–" if worse is None else f"{worse['mean']:.1f} ({worse['low']}–{worse['high']})"
