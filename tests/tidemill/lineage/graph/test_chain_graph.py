"""The walk and the tree, on graphs of any shape."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tidemill.lineage.graph.chain_graph import Branch, Link, Node, as_dict, tree, walk

EDGES = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24)


def ways(edges):
    """Neighbours up (to the smaller end of an edge's pair) and down, for edges (upper, lower)."""
    return {
        "up": lambda node: [
            Link(Node(f"n:{u}"), "of") for u, lower in sorted(edges) if f"n:{lower}" == node.id
        ],
        "down": lambda node: [
            Link(Node(f"n:{lower}"), "of") for u, lower in sorted(edges) if f"n:{u}" == node.id
        ],
    }


def reachable(edges, start, upwards, steps=100):
    found, edge_of = {start}, {(low, up) if upwards else (up, low) for up, low in edges}
    for _ in range(steps):
        found |= {there for here, there in edge_of if here in found}
    return found


def flat(branch: Branch):
    yield branch
    for each in branch.branches:
        yield from flat(each)


@given(EDGES)
def test_a_walk_finds_all_that_can_be_reached_and_nothing_else(edges):
    graph = walk(Node("n:0"), ways(edges))
    expected = reachable(edges, 0, True) | reachable(edges, 0, False)
    assert set(graph.nodes) == {f"n:{number}" for number in expected}
    assert {(edge.upper, edge.lower) for edge in graph.edges} <= {(f"n:{u}", f"n:{low}") for u, low in edges}


@given(EDGES, st.integers(1, 4))
def test_depth_counts_steps_and_what_was_cut_is_marked(edges, depth):
    graph = walk(Node("n:0"), {"up": ways(edges)["up"]}, depth)
    assert set(graph.nodes) == {f"n:{n}" for n in reachable(edges, 0, True, depth)}
    whole = walk(Node("n:0"), {"up": ways(edges)["up"]})
    if not graph.cut:
        assert graph == whole


@given(EDGES)
def test_a_tree_shows_every_node_once_in_full(edges):
    graph = walk(Node("n:0"), {"up": ways(edges)["up"]})
    shown = [each.node.id for each in flat(tree(graph, "up")) if not each.repeated]
    assert set(shown) == set(graph.nodes)
    with_branches = [each.node.id for each in flat(tree(graph, "up")) if each.branches]
    assert len(with_branches) == len(set(with_branches))


def test_a_cause_ends_the_walk():
    links = {
        "turn:2": [Link(Node("alert:1"), "set off by", final=True)],
        "alert:1": [Link(Node("version:m/1"), "about")],
    }
    graph = walk(Node("turn:2"), {"up": lambda node: links.get(node.id, [])})
    assert list(graph.nodes) == ["turn:2", "alert:1"]


def test_the_form_for_machines_is_json():
    link = Link(Node("data:4f", gap="git has no such commit"), "trained on")
    graph = walk(Node("run:1", {"status": "FINISHED"}), {"up": lambda n: [link] if n.kind == "run" else []})
    assert json.loads(json.dumps(as_dict(graph))) == {
        "format": 1,
        "start": "run:1",
        "nodes": [
            {"id": "run:1", "kind": "run", "name": "1", "facts": {"status": "FINISHED"}, "gap": None},
            {"id": "data:4f", "kind": "data", "name": "4f", "facts": {}, "gap": "git has no such commit"},
        ],
        "edges": [{"from": "data:4f", "to": "run:1", "relation": "trained on"}],
        "cut": [],
    }
