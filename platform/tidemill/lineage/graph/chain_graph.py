"""The chain as a graph: nodes with facts, edges that say what came of what, and the walk along them.

Nothing here reads anything: whoever walks brings two functions, one that names a node's origins and one that
names its outcomes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Branch", "Direction", "Edge", "Graph", "Link", "Neighbours", "Node", "as_dict", "tree", "walk"]

Direction = Literal["up", "down"]
"""``up`` to where something comes from, ``down`` to what came of it."""

FORMAT = 1
"""Version of the JSON form; it changes when a reader of the form before would go wrong."""


@dataclass(frozen=True)
class Node:
    """One thing in the chain.

    >>> node = Node("version:flight-delay/3", {"aliases": ["champion"]})
    >>> node.kind, node.name
    ('version', 'flight-delay/3')
    """

    id: str
    """``<kind>:<name>``."""
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What is on record about it; values as JSON knows them, and moments."""
    gap: str | None = None
    """What the record lacks, if it does: a sentence."""

    @property
    def kind(self) -> str:
        """What it is."""
        return self.id.partition(":")[0]

    @property
    def name(self) -> str:
        """Which one."""
        return self.id.partition(":")[2]


@dataclass(frozen=True)
class Link:
    """A neighbour of a node."""

    node: Node
    relation: str
    """How the lower of the two depends on the upper one: the lower ``trained on`` the upper."""
    final: bool = False
    """Whether the walk ends there: the neighbour is a cause, not a part of the chain."""


@dataclass(frozen=True)
class Edge:
    """``lower`` came of ``upper``; read it as "lower ``relation`` upper"."""

    upper: str
    lower: str
    relation: str


@dataclass(frozen=True)
class Graph:
    """What a walk found."""

    start: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    cut: frozenset[str] = frozenset()
    """Ids of nodes that the walk reached at its greatest depth, and did not look beyond."""

    @property
    def gaps(self) -> tuple[Node, ...]:
        """The nodes of which the record lacks something."""
        return tuple(node for node in self.nodes.values() if node.gap is not None)


Neighbours = Callable[[Node], Iterable[Link]]


def walk(start: Node, neighbours: Mapping[Direction, Neighbours], depth: int | None = None) -> Graph:
    """Follow the chain from ``start`` in each of the directions given.

    Going up never turns down, nor the other way round: the siblings of a node are not part of its chain.

    Args:
        start: where to begin.
        neighbours: by direction, what names the neighbours of a node in that direction.
        depth: greatest number of steps away from ``start``; none for all the way.

    >>> chain = {"run:1": "training-set:9a", "training-set:9a": "data:4f"}
    >>> up = lambda node: [Link(Node(chain[node.id]), "made from")] if node.id in chain else []
    >>> list(walk(Node("run:1"), {"up": up}).nodes)
    ['run:1', 'training-set:9a', 'data:4f']
    >>> sorted(walk(Node("run:1"), {"up": up}, depth=1).cut)
    ['training-set:9a']
    """
    nodes, edges = {start.id: start}, dict[Edge, None]()
    cut: set[str] = set()
    for direction, of in neighbours.items():
        seen, queue = {start.id}, deque([(start, 0)])
        while queue:
            node, steps = queue.popleft()
            if depth is not None and steps >= depth:
                cut.add(node.id)
                continue
            for link in of(node):
                edges[_edge(direction, node.id, link)] = None
                if link.node.id in seen:
                    continue
                seen.add(link.node.id)
                nodes.setdefault(link.node.id, link.node)
                if not link.final:
                    queue.append((link.node, steps + 1))
    return Graph(start.id, MappingProxyType(nodes), tuple(edges), frozenset(cut))


def _edge(direction: Direction, here: str, link: Link) -> Edge:
    upper, lower = (link.node.id, here) if direction == "up" else (here, link.node.id)
    return Edge(upper, lower, link.relation)


@dataclass(frozen=True)
class Branch:
    """A node in its place in a tree."""

    node: Node
    relation: str
    """To its parent; empty for the root."""
    branches: tuple["Branch", ...] = ()
    repeated: bool = False
    """It stands in the tree already, and what hangs on it is shown there."""


def tree(graph: Graph, direction: Direction) -> Branch:
    """Return the part of a graph that lies in one direction of its start, as a tree.

    What hangs on a node with several ways to it is shown once, on the first way; on the others the node is
    marked as repeated.

    >>> made_of = {"a:1": ["b:1", "c:1"], "b:1": ["c:1"], "c:1": ["d:1"]}
    >>> up = lambda node: [Link(Node(each), "of") for each in made_of.get(node.id, ())]
    >>> [(each.node.id, each.repeated) for each in tree(walk(Node("a:1"), {"up": up}), "up").branches]
    [('b:1', False), ('c:1', True)]
    """
    beside: dict[str, list[tuple[str, str]]] = {}
    for edge in graph.edges:
        here, there = (edge.lower, edge.upper) if direction == "up" else (edge.upper, edge.lower)
        beside.setdefault(here, []).append((there, edge.relation))
    seen: set[str] = set()

    def grow(node_id: str, relation: str) -> Branch:
        node = graph.nodes[node_id]
        if node_id in seen:
            return Branch(node, relation, repeated=bool(beside.get(node_id)))
        seen.add(node_id)
        branches = tuple(grow(there, how) for there, how in beside.get(node_id, ()))
        return Branch(node, relation, branches)

    return grow(graph.start, "")


def as_dict(graph: Graph) -> dict[str, Any]:
    """Return a graph in the form that goes out as JSON (docs/lineage.md).

    >>> graph = walk(Node("run:1"), {"up": lambda node: []})
    >>> as_dict(graph)["nodes"]
    [{'id': 'run:1', 'kind': 'run', 'name': '1', 'facts': {}, 'gap': None}]
    """
    return {
        "format": FORMAT,
        "start": graph.start,
        "nodes": [
            {"id": node.id, "kind": node.kind, "name": node.name, "facts": dict(node.facts), "gap": node.gap}
            for node in graph.nodes.values()
        ],
        "edges": [{"from": edge.upper, "to": edge.lower, "relation": edge.relation} for edge in graph.edges],
        "cut": sorted(graph.cut),
    }
