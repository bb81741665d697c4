"""Returns the lineage graph of one thing: finds its node and walks upstream or downstream from it."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from tidemill.lineage.graph.chain_graph import Direction, Graph, Neighbours, walk
from tidemill.lineage.graph.downstream import outcomes
from tidemill.lineage.graph.finding import find
from tidemill.lineage.graph.upstream import origins
from tidemill.lineage.sources.chain_sources import Records
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
        thing: the start of the walk, in a form that `tidemill.lineage.graph.finding.find` accepts.
        directions: ``up`` to the origins, ``down`` to what was made from it.
        depth: greatest number of steps; None for no limit.
        ids: how many predictions of each version get a node of their own, the latest first.

    Raises:
        UsageError: nothing has this name, or several things have it.
        TidemillError: a record exists but cannot be read.
    """
    with closing(Records(project, ids)) as records:
        ways: dict[Direction, Neighbours] = {
            "up": partial(origins, records),
            "down": partial(outcomes, records),
        }
        start = find(records, thing)
        return walk(start, {direction: ways[direction] for direction in directions}, depth)
