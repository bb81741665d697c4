"""``tidemill lineage``: where anything comes from, and what came of it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from rich.tree import Tree

from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, errors_console
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task_names import DEFAULT_METRIC

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.lineage.graph.chain_graph import Branch, Direction, Node

__all__ = ["add_to", "summary"]

Thing = Annotated[
    str,
    typer.Argument(
        help="A version (3, champion, flight-delay/3), a prediction's id, the first characters of a run's, "
        "turn's or alert's, a revision, a data file, a feature view or service. Where two are called the "
        "same: version:3, view:weather.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill lineage champion   ·   tidemill lineage pred_01kagr… --up   ·   "
        "tidemill lineage HEAD --down --json",
    )(lineage)


def lineage(
    thing: Thing,
    project: ProjectDir = None,
    up: Annotated[bool, typer.Option("--up", help="Only where it comes from.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what came of it.")] = False,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Steps away from it (default: all the way).", show_default=False)
    ] = None,
    ids: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show the latest N predictions of each version too.")
    ] = 0,
    openlineage: Annotated[
        bool,
        typer.Option("--openlineage", help="Print the OpenLineage events of the turn that made it instead."),
    ] = False,
    send: Annotated[
        bool, typer.Option("--send", help="Send those events to the configured address (again).")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show where a thing comes from, and what came of it."""
    if openlineage or send:
        _events(thing, project, send, json)
        return
    from tidemill.lineage.graph.chain import trace
    from tidemill.lineage.graph.chain_graph import as_dict, tree
    from tidemill.project import load_project

    directions: list[Direction] = ["up"] if up or not down else []
    if down or not up:
        directions.append("down")
    loaded = load_project(project)
    with errors_console().status("reading the records …"):
        graph = trace(loaded, thing, directions, depth, ids)

    def render(console: "Console") -> None:
        start = graph.nodes[graph.start]
        console.print(_line(start, ""))
        for direction in directions:
            branches = tree(graph, direction).branches
            title = "comes from" if direction == "up" else "what came of it"
            shown = Tree(Text(title if branches else f"{title}: nothing on record", style="dim"))
            for branch in branches:
                _grow(shown, branch, graph.cut, relations=direction == "up")
            console.print(shown)
        if graph.gaps:
            count = len(graph.gaps)
            console.print(f"{counted(count, 'gap')} in the record, marked with !")

    emit(as_dict(graph), json, render)


def _events(thing: str, project: Path | None, send: bool, json: bool) -> None:
    """Print, or send, the events of the turn that a thing was made in."""
    from tidemill.lineage.openlineage.emission import deliver, events_of
    from tidemill.project import load_project

    loaded = load_project(project)
    events = events_of(loaded, thing)
    if not send:
        sys.stdout.writelines(event + "\n" for event in events.lines())
        return
    address, sent = deliver(loaded, events), len(events.events)
    facts = {"turns": events.turns, "sent": sent, "to": address}
    emit(facts, json, lambda console: console.print(f"✓ {counted(sent, 'event')} sent to {address}"))


def _grow(parent: Tree, branch: "Branch", cut: frozenset[str], relations: bool) -> None:
    line = _line(branch.node, branch.relation if relations else "", brief=branch.repeated)
    if branch.repeated:
        line.append("  (above)", style="dim")
    elif branch.node.id in cut:
        line.append("  …", style="dim")
    grown = parent.add(line)
    for each in branch.branches:
        _grow(grown, each, cut, relations)


def _line(node: "Node", relation: str, brief: bool = False) -> Text:
    line = Text()
    if relation:
        line.append(f"{relation} ", style="dim")
    line.append(_short(node), style="bold")
    if brief:
        return line
    if said := summary(node.kind, node.facts):
        line.append(f"  {said}")
    if node.gap:
        line.append(f"  ! {node.gap}", style="yellow")
    return line


def _short(node: "Node") -> str:
    """Return the id of a node, with hashes cut to where git cuts them."""
    hashed = node.kind in {"data", "commit", "training-set"}
    return f"{node.kind}:{node.name[:10]}" if hashed else node.id


def summary(kind: str, facts: Mapping[str, Any]) -> str:
    """Return the facts of a node that a person looks for first.

    >>> summary("training-set", {"path": "data/training_set.parquet", "md5": "9a0e"})
    'data/training_set.parquet'
    >>> summary("version", {"aliases": ["champion"], "metrics": {"holdout_roc_auc": 0.71234}})
    'champion · holdout_roc_auc 0.7123'
    >>> summary("version", {"metrics": {"holdout_bias": 0.1, "holdout_neg_mae": -12.0}})
    'holdout_mae 12.0000'
    """
    said = _SUMMARIES[kind](facts) if kind in _SUMMARIES else ()
    return " · ".join(str(part) for part in said if part not in (None, "", []))


def _at(value: Any) -> str | None:
    """Return a moment, given as one or as text, to the minute."""
    return None if value is None else str(value).replace("T", " ")[:16]


def _metrics(facts: Mapping[str, Any]) -> str:
    held = {k: v for k, v in (facts.get("metrics") or {}).items() if k.startswith("holdout_")}
    usual = [f"holdout_{name}" for name in DEFAULT_METRIC.values()]
    name = next((one for one in (*usual, *sorted(held)) if one in held), None)
    return metric_of(name).said(held[name]) if name else ""


def _definition(facts: Mapping[str, Any]) -> str | None:
    if not facts.get("definition"):
        return None
    said = {True: " still applied", False: " no longer applied", None: ""}[facts.get("still_applied")]
    return f"definition {facts['definition'][:12]}{said}"


def _served(facts: Mapping[str, Any]) -> str:
    until = _at(facts["until"])
    return f"{_at(facts['since'])} – {until or 'now'}"


def _count(facts: Mapping[str, Any]) -> str:
    test = f" ({facts['test']:,} of them test traffic)" if facts.get("test") else ""
    return f"{counted(facts['predictions'], 'prediction')}{test}"


def _score(facts: Mapping[str, Any]) -> str | None:
    return None if facts["score"] is None else f"score {facts['score']:.4f}"


_SUMMARIES: dict[str, Any] = {
    "prediction": lambda f: (f"at {_at(f['at'])}", _score(f), f"replica {f['replica']}"),
    "label": lambda f: (f"label {f.get('target') or f['label']}", f"known at {_at(f['at'])}"),
    "version": lambda f: (", ".join(f.get("aliases") or ()), _metrics(f)),
    "run": lambda f: (f.get("name"), f.get("status"), f"as of {_at(f['as_of'])}" if f.get("as_of") else None),
    "training-set": lambda f: (f["path"],),
    "service": lambda f: (_definition(f),),
    "view": lambda f: (
        counted(len(f.get("features") or ()), "feature"),
        f"by {', '.join(f['entities'])}"
        if f.get("entities")
        else "on demand"
        if f.get("on_demand")
        else None,
    ),
    "data": lambda f: (_at(f["committed_at"]), f["message"]),
    "source": lambda f: (f"md5 {f['md5'][:10]}" if f["md5"] else None, f.get("imported_from")),
    "stage": lambda f: (f["command"], ", ".join(code["path"] for code in f["code"])),
    "commit": lambda f: (_at(f.get("committed_at")), f.get("message")),
    "turn": lambda f: (
        f.get("status"),
        f"as of {_at(f['as_of'])}" if f.get("as_of") else None,
        f.get("reason"),
    ),
    "promotion": lambda f: (_served(f), f["kind"], f"by {f['actor']}", f["reason"]),
    "predictions": lambda f: (_count(f), f"{_at(f['first_at'])} – {_at(f['last_at'])}"),
    "labels": lambda f: (f"{f['labelled']:,} of {f['of']:,} predictions are labelled",),
    "reports": lambda f: (
        f"{f['monitor_runs']} monitor runs",
        f"last at {_at(f['last_at'])}",
        f["last_report"],
    ),
    "alert": lambda f: (f"raised at {_at(f['raised_at'])}", f["status"], f["message"]),
}
