"""Returns the lineage graph of one thing: finds its node and walks upstream or downstream from it."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from tidemill.lineage.graph.chain_graph import Direction, Graph, Neighbours, walk
from tidemill.lineage.graph.downstream import downstream_nodes
from tidemill.lineage.graph.finding import find_node
from tidemill.lineage.graph.upstream import upstream_nodes
from tidemill.lineage.sources.chain_sources import ChainRecords
from tidemill.project import Project

__all__ = ["trace"]


def trace(
    project: Project,
    thing: str,
    directions: Sequence[Direction] = ("up", "down"),
    depth: int | None = None,
    ids: int = 0,
) -> Graph:
    """Return the lineage graph of a thing.

    Args:
        project: the project whose records are read.
        thing: the start of the walk, in a form that `tidemill.lineage.graph.finding.find_node` accepts.
        directions: ``up`` to the origins, ``down`` to what was made from it.
        depth: greatest number of steps; None for no limit.
        ids: how many predictions of each version get a node of their own, the latest first.

    Raises:
        UsageError: nothing has this name, or several things have it.
        TidemillError: a record exists but cannot be read.
    """
    with closing(ChainRecords(project, ids)) as records:
        ways: dict[Direction, Neighbours] = {
            "up": partial(upstream_nodes, records),
            "down": partial(downstream_nodes, records),
        }
        start = find_node(records, thing)
        return walk(start, {direction: ways[direction] for direction in directions}, depth)
