"""The chain of one thing, from the data to the labels, as a graph and as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Query

from tidemill.clock import Clock
from tidemill.dashboard.charts.layered_graph import Box, draw_graph
from tidemill.dashboard.page import add_page
from tidemill.dashboard.records.bounded_reading import READINGS
from tidemill.dashboard.records.registry_reading import read_registry, refuse_lost_registry
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import NotAllowed, UsageError
from tidemill.lineage.graph.chain_graph import Graph, Node
from tidemill.project import Project

__all__ = ["Chain", "add_to", "lineage"]

_DRAWN = 150
"""Nodes up to which the graph is drawn; the table has all."""
_KEPT_SECONDS = 60.0
_PERSONAL = ("prediction", "label")
_PAGES = {"version": "versions", "run": "runs", "data": "data", "turn": "turns", "alert": "alerts"} | {
    "prediction": "predictions"
}


@dataclass(frozen=True)
class Link:
    """A thing of the chain, and how this one depends on it."""

    relation: str
    id: str
    chain: str | None
    """Address of its own chain; None for a sum of many things, which has none."""


@dataclass(frozen=True)
class Thing:
    """One thing of the chain."""

    id: str
    kind: str
    name: str
    gap: str | None
    """What is missing from the records."""
    facts: Mapping[str, str]
    made_from: Sequence[Link]
    chain: str | None
    """Address of its own chain, if it has one."""
    page: str | None
    """Its own page, if it has one."""


@dataclass(frozen=True)
class Chain:
    """The chain of one thing."""

    model: str
    of: str
    way: str
    start: str | None
    """Id of the thing that was asked for; None if nothing was."""
    things: Sequence[Thing]
    drawn: str | None
    """The graph, SVG; None where there is too much to draw."""
    gaps: int
    read_at: datetime | None
    """When it was read: it is kept for a minute. None if nothing was."""


def lineage(
    visit: Here,
    model: str,
    of: Annotated[str, Query(max_length=300, description="An id or name; default: the champion.")] = "",
    way: Annotated[
        Literal["both", "up", "down"], Query(description="To the origins, or what came of it.")
    ] = "both",
) -> Chain:
    """Return the chain of anything: a data version, run, version, prediction, label and so on.

    It is kept for a minute: the whole prediction log is counted for it.
    """
    project = visit.installation.load(visit.project(model))
    if not of.strip():
        refuse_lost_registry(visit.records, project)
    wanted = of.strip() or _champion(project)
    if wanted is None:
        return Chain(model, "", way, None, (), None, 0, None)
    if not visit.may("read", "prediction", model) and wanted.startswith(("pred_", "prediction:", "label:")):
        raise NotAllowed(f"{visit.identity.name or 'this visitor'} may not read predictions of {model}")
    graph, read_at = _trace(project, wanted, way, visit.installation.clock)
    _refuse_foreign(visit, project, wanted, graph)
    return replace(_shown(visit, model, of.strip(), way, graph), read_at=read_at)


def _champion(project: Project) -> str | None:
    from tidemill.registry.versions.registry_reader import read_champion

    number = read_registry(("champion", str(project.root)), lambda: read_champion(project))
    return None if number is None else f"version:{project.model}/{number}"


def _trace(project: Project, wanted: str, way: str, clock: Clock) -> tuple[Graph, datetime]:
    def read() -> tuple[Graph, datetime]:
        from tidemill.lineage.graph.chain import trace  # imports MLflow

        began = clock.now()
        return trace(project, wanted, ways), began

    ways: Any = ("up", "down") if way == "both" else (way,)
    try:
        return READINGS.read(
            f"the chain of {wanted}",
            ("chain", str(project.root), wanted, way),
            read,
            keep=_KEPT_SECONDS,
        )
    except UsageError as error:  # its words list what there is, of other models, too
        raise _unknown(project, wanted) from error


def _unknown(project: Project, wanted: str) -> UsageError:
    return UsageError(
        f"nothing of {project.model} is called {wanted!r}, or several things are",
        hint="put the kind before it, such as version:3, run:…, data:…, prediction:…, alert:… or turn:…",
    )


def _refuse_foreign(visit: Visit, project: Project, wanted: str, graph: Graph) -> None:
    """Raise if the thing that was asked for belongs to a project that the visitor must not see."""
    start = graph.nodes[graph.start]
    if _is_foreign(visit, start):
        raise _unknown(project, wanted)
    if start.kind == "run" and "status" in start.facts:
        from tidemill.training.tracking.run_reading import read_run

        read_run(project, start.name)


def _is_foreign(visit: Visit, node: Node) -> bool:
    model = node.facts.get("model")
    return model is not None and model not in {one.model for one in visit.projects}


def _shown(visit: Visit, model: str, of: str, way: str, graph: Graph) -> Chain:
    personal = visit.may("read", "prediction", model)
    nodes = [
        node
        for node in graph.nodes.values()
        if not _is_foreign(visit, node) and (personal or node.kind not in _PERSONAL)
    ]
    known = {node.id for node in nodes}
    edges = [edge for edge in graph.edges if edge.upper in known and edge.lower in known]
    boxes = [
        Box(
            node.id,
            node.kind,
            _short(node),
            _chain_of(model, node.id),
            node.id == graph.start,
            node.gap is not None,
        )
        for node in nodes
    ]
    drawn = draw_graph(
        f"The chain of {graph.start}", boxes, [(edge.upper, edge.lower, edge.relation) for edge in edges]
    )
    origins: dict[str, list[Link]] = {}
    for edge in edges:
        origins.setdefault(edge.lower, []).append(
            Link(edge.relation, edge.upper, _chain_of(model, edge.upper))
        )
    things = [
        Thing(
            node.id,
            node.kind,
            node.name,
            node.gap,
            _facts(node),
            origins.get(node.id, []),
            _chain_of(model, node.id),
            _page_of(model, node),
        )
        for node in nodes
    ]
    return Chain(
        model,
        of,
        way,
        graph.start,
        things,
        drawn if len(nodes) <= _DRAWN else None,
        sum(node.gap is not None for node in nodes),
        None,
    )


def _short(node: Node) -> str:
    """Return a name that fits a box: ids are cut.

    >>> _short(Node("run:04cfed158cf246e99f43bc8c85b1380d")), _short(Node("source:data/raw/a.parquet"))
    ('04cfed158c', 'data/raw/a.parquet')
    """
    name = node.name
    return name[:10] if len(name) >= 32 and "/" not in name and name.isalnum() else name


def _chain_of(model: str, thing: str) -> str | None:
    """Return the address of a thing's chain; None for a kind that nothing finds, such as all labels.

    >>> _chain_of("late", "version:late/4"), _chain_of("late", "labels:late/4")
    ('/models/late/lineage?of=version%3Alate%2F4', None)
    """
    from tidemill.lineage.graph.finding import KINDS  # MLflow takes seconds to import

    if thing.partition(":")[0] not in KINDS:
        return None
    return f"/models/{quote(model, safe='')}/lineage?of={quote(thing, safe='')}"


def _page_of(model: str, node: Node) -> str | None:
    folder = _PAGES.get(node.kind)
    if folder is None:
        return None
    owner, name = node.facts.get("model") or model, node.name
    name = name.rpartition("/")[2] if node.kind == "version" else name
    return f"/models/{quote(str(owner), safe='')}/{folder}/{quote(name, safe='')}"


def _facts(node: Node) -> dict[str, str]:
    """Return the facts that are single values, as text."""
    said = {}
    for name, value in node.facts.items():
        if isinstance(value, datetime):
            said[name.replace("_", " ")] = value.isoformat(timespec="minutes")
        elif isinstance(value, float):
            said[name.replace("_", " ")] = f"{value:.6g}"
        elif isinstance(value, str | int) and value != "":
            said[name.replace("_", " ")] = str(value)
        elif isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
            said[name.replace("_", " ")] = ", ".join(value)
    return said


def add_to(app: FastAPI) -> None:
    """Add the page."""
    path = "/models/{model}/lineage"
    add_page(app, path, lineage, template="lineage.html", needs=("read", "model"), title="Lineage")
