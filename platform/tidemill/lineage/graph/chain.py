"""The chain of anything: finds what is meant, and walks from there."""

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
    """Return the chain of a thing.

    Args:
        project: whose records are read.
        thing: what to begin with, as `tidemill.lineage.graph.finding.find` understands it.
        directions: ``up`` to where it comes from, ``down`` to what came of it.
        depth: greatest number of steps; none for all the way.
        ids: how many predictions of each version are wanted one by one, the latest.

    Raises:
        UsageError: nothing is called so, or several things are.
        TidemillError: a record that is there cannot be read.
    """
    with closing(Records(project, ids)) as records:
        ways: dict[Direction, Neighbours] = {
            "up": partial(origins, records),
            "down": partial(outcomes, records),
        }
        start = find(records, thing)
        return walk(start, {direction: ways[direction] for direction in directions}, depth)
