"""Defines the lineage graph: nodes with facts, edges from a thing to its origins, and the walk along them.

This module reads no records: the caller passes two functions, one that returns a node's origins and one that
returns what was made from it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Branch", "Direction", "Edge", "Graph", "Link", "Neighbours", "Node", "as_dict", "tree", "walk"]

Direction = Literal["up", "down"]
"""``up`` to the origins of a thing, ``down`` to what was made from it."""

FORMAT = 1
"""Version of the JSON format; it is raised when a change breaks readers of the format before."""


@dataclass(frozen=True)
class Node:
    """One thing in the lineage graph.

    >>> node = Node("version:flight-delay/3", {"aliases": ["champion"]})
    >>> node.kind, node.name
    ('version', 'flight-delay/3')
    """

    id: str
    """``<kind>:<name>``."""
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the records say about it: JSON values and datetimes."""
    gap: str | None = None
    """A sentence that says what is missing from the records; None if nothing is."""

    @property
    def kind(self) -> str:
        """Return the kind, the part of the id before the colon."""
        return self.id.partition(":")[0]

    @property
    def name(self) -> str:
        """Return the name, the part of the id after the colon."""
        return self.id.partition(":")[2]


@dataclass(frozen=True)
class Link:
    """A neighbour of a node, and its relation to the node."""

    node: Node
    relation: str
    """How the lower node depends on the upper one, such as: the lower ``trained on`` the upper."""
    final: bool = False
    """Whether the walk stops at the neighbour because it is a cause, not a part of the chain."""


@dataclass(frozen=True)
class Edge:
    """An edge from ``lower`` to its origin ``upper``; read it as "lower ``relation`` upper"."""

    upper: str
    lower: str
    relation: str


@dataclass(frozen=True)
class Graph:
    """The nodes and edges that a walk found."""

    start: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    cut: frozenset[str] = frozenset()
    """Ids of the nodes at the depth limit, whose neighbours were not looked up."""

    @property
    def gaps(self) -> tuple[Node, ...]:
        """Return the nodes with missing records."""
        return tuple(node for node in self.nodes.values() if node.gap is not None)


Neighbours = Callable[[Node], Iterable[Link]]


def walk(start: Node, neighbours: Mapping[Direction, Neighbours], depth: int | None = None) -> Graph:
    """Follow the chain from ``start`` in each of the directions given.

    A walk up never goes down again, and a walk down never goes up: siblings of a node are not in its chain.

    Args:
        start: the first node.
        neighbours: by direction, the function that returns the neighbours of a node in that direction.
        depth: greatest number of steps away from ``start``; None for no limit.

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
    """Relation to its parent; empty for the root."""
    branches: tuple["Branch", ...] = ()
    repeated: bool = False
    """Whether the node is in the tree already; its branches are shown only there."""


def tree(graph: Graph, direction: Direction) -> Branch:
    """Return one direction of a graph as a tree.

    If several paths lead to a node, its branches are shown once, on the first path; on the others the node
    is marked as repeated.

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
    """Return a graph in its JSON format (docs/lineage.md).

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
