"""Shows the summary at the end of a replay."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from tidemill.plurals import counted
from tidemill.serving.runtime.stack_record import DASHBOARD_PORT
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task_names import METRICS

__all__ = ["period_table", "render_summary"]

Facts = Mapping[str, Any]

_PIECES = re.compile(r"[^ _\n]*[ _]|[^ _\n]+")
"""Words with the space behind them, and the parts of names such as ``data_drift``."""
_LOSSES, _OPEN = ("quality", "concept_drift"), ("firing", "acknowledged")
_OUTCOMES = {
    "promoted": ("green", "promoted"),
    "refused": ("red", "refused by the gate"),
    "registered": ("yellow", "registered"),
    "rollout": ("green", "being rolled out"),
    "asked": ("yellow", "waits for an answer"),
    "unchanged": ("yellow", "nothing new to learn"),
    "failed": ("red", "failed"),
    "running": ("yellow", "not finished"),
}


def render_summary(facts: Facts, console: Console) -> None:
    """Show the results of each turn, and what to look at next."""
    console.print()
    for number, turn in enumerate(facts["turns"], 1):
        console.print(_turn(number, turn, _metrics_shown(facts)))
    console.print(period_table(facts, console.width))
    if facts["gain"]:
        console.print(_gain(facts))
    if said := _held_back(facts):
        console.print(said)
    console.print(_traffic(facts))
    console.print(_next_steps(facts))
    if report := next((r["report_path"] for r in reversed(facts["monitor_runs"]) if r["report_path"]), None):
        console.print("The last drift report, for a browser:")
        console.print(f"  {_short(facts['workspace'])}/{report}", soft_wrap=True)


def _turn(number: int, turn: Facts, metrics: Sequence[str]) -> Panel:
    colour, outcome = _OUTCOMES[turn["status"]]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("why", turn["reason"])
    if turn["drift"]:
        for name, text in _drift(turn["drift"]):
            grid.add_row(name, text)
    grid.add_row(
        "data", f"version {(turn['data_revision'] or 'none')[:10]}, as known at {turn['as_of'][:10]}"
    )
    if training := turn["training"]:
        failed = f", {training['failed_trials']} failed" if training["failed_trials"] else ""
        grid.add_row(
            "search", f"{counted(training['trials'], 'trial')}{failed}; the best is {training['family']}"
        )
        grid.add_row("model", f"version {turn['version']}: {_holdout(training['metrics'], metrics)}")
    for index, reason in enumerate(turn["gate"]["reasons"] if turn["gate"] else []):
        grid.add_row("" if index else "gate", reason)
    if turn["swap"]:
        grid.add_row("swap" if turn["status"] == "promoted" else "traffic", _swap(turn["swap"]))
    if turn["error"]:
        grid.add_row("error", turn["error"])
    spent = sum(turn["seconds"].values())
    title = f"turn {number} · {turn['as_of'][:10]} · [{colour}]{outcome}[/] · {spent:.0f} s"
    return Panel(grid, title=title, title_align="left", border_style=colour)


def _drift(results: Facts) -> Sequence[tuple[str, str]]:
    lines = []
    if drift := results.get("data_drift"):
        worst = [column for column in drift["columns"] if column["drifted"]][:4]
        named = ", ".join(map(_moved, worst))
        share = f"{len(drift['drifted'])} of {counted(len(drift['columns']), 'feature')}"
        lines.append(("drift", f"{share}: {named}" if named else share))
    if (quality := results.get("quality")) and quality["value"] is not None:
        metric, held = metric_of(quality["metric"]), quality["expected"]
        expected = "" if held is None else f", on the hold-out it was {metric.number(held)}"
        lines.append(("quality", f"{metric.said(quality['value'])} in the window{expected}"))
    return lines


def _moved(column: Facts) -> str:
    if column["value"] is None:
        return f"{column['name']} ({column['note']})"
    return f"{column['name']} {column['value']:.2f} (>{column['threshold']:g})"


def _metrics_shown(facts: Facts) -> Sequence[str]:
    """Return the metric that decides, and two others of the task."""
    others = [name for name in METRICS[facts["task"]] if name != facts["metric"]]
    return [facts["metric"], *others[:2]]


def _holdout(metrics: Facts, names: Sequence[str]) -> str:
    found = {name: metrics.get(f"holdout_{name}") for name in names}
    return "hold-out " + ", ".join(
        metric_of(name).said(value) for name, value in found.items() if value is not None
    )


def _swap(swap: Facts) -> str:
    versions = ", ".join(f"{count:,} by version {version}" for version, count in swap["versions"].items())
    slow = "" if swap["p99_milliseconds"] is None else f"; p99 {swap['p99_milliseconds']:.0f} ms"
    failed = "none failed" if not swap["failed"] else f"{swap['failed']} FAILED"
    return f"{counted(swap['sent'], 'request')} meanwhile, {failed} ({versions}){slow}"


def period_table(facts: Facts, available: int) -> Table:
    """Return what happened by day or month, in so many columns of a terminal."""
    months = len(facts["periods"][0]["period"]) == len("2013-04") if facts["periods"] else False
    numbers = ("sent", "labels", metric_of(facts["metric"]).name)
    headers = ("month" if months else "day", *numbers, "version", "drift", "alerts", "turns")
    columns = list(zip(headers, *(_cells(facts["metric"], one) for one in facts["periods"]), strict=True))
    columns = [
        tuple(_folded(cell, wide) for cell in column)
        for column, wide in zip(columns, _widths(columns, available), strict=True)
    ]
    table = Table(
        *(
            Column(one[0], justify="right" if one in columns[1:4] else "left", overflow="fold")
            for one in columns
        ),
        title=f"What happened, {'month by month' if months else 'day by day'}",
        title_justify="left",
        box=box.SIMPLE_HEAD,  # as `tidemill.cli.listing` has it
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table


def _cells(metric: str, period: Facts) -> Sequence[str]:
    turns = [
        f"version {turn['version']} {turn['status']}" if turn["version"] else turn["status"]
        for turn in period["turns"]
    ]
    return (
        period["period"],
        f"{period['predictions']:,}",
        f"{period['labels']:,}",
        _value(metric, period["metrics"]),
        ", ".join(period["versions"]) or "–",
        _drifted(period["drift"]),
        "\n".join(dict.fromkeys(period["alerts"])) or "–",
        "\n".join(turns) or "–",
    )


def _widths(columns: Sequence[Sequence[str]], available: int) -> Sequence[int]:
    """Return the width of each column. Where they do not fit, the widest get less, but words stay whole."""
    widths = [max(len(line) for cell in column for line in cell.splitlines()) for column in columns]
    least = [max(len(word) for cell in column for word in _words(cell)) for column in columns]
    for _ in range(sum(widths) + 2 * (len(widths) - 1) - available):
        place = max(range(len(widths)), key=lambda place: (widths[place] > least[place]) * widths[place])
        widths[place] = max(widths[place] - 1, least[place])
    return widths


def _folded(cell: str, wide: int) -> str:
    """Return a cell in lines of a width, broken at spaces and behind underscores."""
    lines = []
    for line in cell.splitlines():
        lines.append("")
        for word in _PIECES.findall(line):
            if lines[-1] and len(lines[-1]) + len(word.rstrip()) > wide:
                lines.append("")
            lines[-1] += word
    return "\n".join(line.rstrip() for line in lines)


def _words(cell: str) -> Sequence[str]:
    return [word.rstrip() for word in _PIECES.findall(cell)]


def _drifted(drift: Facts | None) -> str:
    if drift is None:
        return "–"
    features = f"{len(drift['drifted'])} of {drift['features']}" if drift["features"] else ""
    return ", ".join(filter(None, (features, "answers" if drift["answers"] else ""))) or "none"


def _gain(facts: Facts) -> Text:
    gain, metric = facts["gain"], facts["metric"]
    first, served = gain["first_champion"], gain["served"]
    interval = served["gain_interval"]
    sure = "" if interval is None else f" (gain between {interval[0]:+.4f} and {interval[1]:+.4f}, 90 %)"
    return Text(
        f"Was it worth it? Since the second champion took over on {gain['since'][:10]}, "
        f"{counted(gain['rows'], 'labelled row')}: {metric_of(metric).name} "
        f"{_value(metric, served['metrics'])} by what was served, "
        f"{_value(metric, first['metrics'])} by version {first['version']} left alone{sure}.\n"
    )


def _held_back(facts: Facts) -> Text | None:
    """Return what to try where the quality stayed low, and the gate refused each candidate since it fell."""
    fallen = [one for one in facts["alerts"] if one["kind"] in _LOSSES and one["status"] in _OPEN]
    if not fallen or not (days := facts.get("holdout_days")):
        return None
    since = min(one["raised_at"] for one in fallen)
    ends = [turn["status"] for turn in facts["turns"] if turn["as_of"] >= since]
    if "refused" not in ends or "promoted" in ends:
        return None
    return Text(
        f"The quality fell by {since[:10]} and stayed low, and the gate refused what was trained since. "
        f"A candidate is judged without the last {days} days: it learns a change only when that is older. "
        "Make split.holdout_days and validation_days shorter in params.yaml, and replay again.\n"
    )


def _value(metric: str, found: Facts) -> str:
    value = found.get(metric)
    return "–" if value is None else metric_of(metric).number(value)


def _traffic(facts: Facts) -> Text:
    traffic = facts["traffic"]
    alerts = facts["alerts"]
    failed = "[green]none failed[/]" if not traffic["failed"] else f"[red]{traffic['failed']} failed[/]"
    seconds = facts["seconds"]
    refused = "".join(f"  {error}\n" for error in traffic["errors"][:2])
    swapping = traffic["sent"] - traffic["replayed"]
    both = (
        f" ({traffic['replayed']:,} replayed, {swapping:,} more while versions changed)" if swapping else ""
    )
    phases = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if name != "total")
    return Text.from_markup(
        f"Traffic: {counted(traffic['sent'], 'request')} over HTTP{both}, {failed}; "
        f"{traffic['logged']:,} in the log; "
        f"{counted(traffic['labels'], 'label')} came.\n{escape(refused)}"
        f"Watching: {counted(len(facts['monitor_runs']), 'monitor run')}, {counted(len(alerts), 'alert')}.\n"
        f"Time: {seconds['total']:.0f} s ({phases})\n"
    )


def _next_steps(facts: Facts) -> Group:
    place, model = _short(facts["workspace"]), facts["model"]
    steps = [
        (f"cd {place}", "then"),
        (f"tidemill models history {model}", "who served when, and who decided"),
        ("tidemill alerts list --all", "what the monitors found"),
        ("tidemill up", f"start it again, with the dashboard at http://127.0.0.1:{DASHBOARD_PORT}"),
        (f"less {facts['file']}", "the same facts for machines"),
    ]
    grid = Table.grid(padding=(0, 2))
    for command, why in steps:
        grid.add_row(Text(f"  {command}", style="bold"), Text(why, style="dim"))
    return Group(Text("Where to look next", style="bold"), grid)


def _short(folder: str) -> str:
    """Return a folder relative to the current folder where possible."""
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else folder
