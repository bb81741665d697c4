"""A common form of decision trees from any package, and its compilation to an ONNX node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

from tidemill.training.compiling.onnx_graph import ML, CannotCompile, Graph, Table

__all__ = [
    "LARGEST_FLOAT32",
    "Ensemble",
    "Tree",
    "add_ensemble",
    "add_leaf_rows",
    "add_trees",
    "as_float32",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LARGEST_FLOAT32 = float(np.nextafter(2.0**128 - 2.0**103, 0.0))
"""The largest double that is finite when it is cut to 32 bits."""
_LEAF = -1
_INDICES = TensorProto.INT64
_MODES = {"<=": 0, "<": 1}
_MEMBER = 6
_MOST_NODES = 4_000_000


@dataclass(frozen=True)
class Tree:
    """One tree. Every array has shape (nodes,); node 0 is the root."""

    feature: Ints
    """Column that a node compares; −1 in a leaf."""
    threshold: Floats
    yes: Ints
    """Where a row goes whose value is at most (or below) the threshold, or among the ``members``."""
    no: Ints
    unknown_yes: Bools
    """Whether a row without a value (NaN) goes to ``yes``."""
    value: Floats
    """The value of a leaf."""
    members: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """Nodes that do not compare but look a value up, and what they look for."""

    @classmethod
    def leaf(cls, value: float) -> "Tree":
        """Return a tree with the same value for every row.

        >>> Tree.leaf(0.5).value
        array([0.5])
        """
        none = np.array([_LEAF])
        return cls(none, np.zeros(1), none, none, np.zeros(1, np.bool_), np.array([value]))


@dataclass(frozen=True)
class Ensemble:
    """The sum of its trees plus ``base``, for each target."""

    trees: Sequence[Tree]
    base: float | Sequence[float] = 0.0
    """One for all targets, or one for each."""
    test: Literal["<=", "<"] = "<="
    targets: Sequence[int] = ()
    """The target that each tree adds to, from 0 on; default: one target for all."""
    width: int = 1
    """The number of targets."""
    weights: Floats | None = None
    """What a value of each column adds for each target, shape (columns, targets); nothing is known: 0."""


def as_float32(thresholds: Floats, test: Literal["<=", "<"]) -> Floats:
    """Return thresholds for doubles, equivalent to the given ones for the same numbers cut to 32 bits.

    Scikit-learn's forests and XGBoost cut a number to 32 bits before they compare it. ``float32(x) <= t`` is
    the same as ``x <= w``, where w is the largest double that is cut to no more than t.

    >>> [found] = as_float32(np.array([0.1]), "<=")
    >>> float(np.float32(found)) <= 0.1, float(np.float32(np.nextafter(found, 1))) <= 0.1
    (True, False)
    """
    infinity = np.float32(np.inf)
    with np.errstate(over="ignore"):
        near = thresholds.astype(np.float32)
        if test == "<=":  # the two neighbours of 32 bits between which the decision changes
            low = np.where(near.astype(np.float64) > thresholds, np.nextafter(near, -infinity), near)
            high = np.nextafter(low, infinity)
        else:
            high = np.where(near.astype(np.float64) < thresholds, np.nextafter(near, infinity), near)
            low = np.nextafter(high, -infinity)
    middle = (low.astype(np.float64) + high.astype(np.float64)) / 2
    is_low = middle.astype(np.float32) == low  # a tie goes to the even one
    if test == "<=":
        found = np.where(is_low, middle, np.nextafter(middle, -np.inf))
    else:
        found = np.where(is_low, np.nextafter(middle, np.inf), middle)
    return np.where(np.isfinite(middle), found, thresholds)


def add_ensemble(graph: Graph, ensemble: Ensemble, table: Table) -> str:
    """Add the trees or the weights of a booster; return what they add up to, shape (rows, targets).

    Raises:
        CannotCompile: the trees are too large, or a column is text.
    """
    if ensemble.weights is not None:  # XGBoost refuses such rows of linear boosters
        graph.refuse_infinite(table, LARGEST_FLOAT32)
    return add_trees(graph, ensemble, graph.numbers(table))


def add_trees(graph: Graph, ensemble: Ensemble, values: str) -> str:
    """Add a node that sums the trees over ``values``, shape (rows, columns); return the sum, (rows, targets).

    Raises:
        CannotCompile: the trees are too large.
    """
    rooted = [_rooted(tree) for tree in ensemble.trees or [Tree.leaf(0.0)]]
    forest, roots = _joined(rooted)
    owners = np.repeat(ensemble.targets or [0] * len(rooted), [len(tree.feature) for tree in rooted])
    leaf = forest.feature == _LEAF
    # ONNX numbers the inner nodes and the leaves each for themselves.
    position = np.where(leaf, np.cumsum(leaf), np.cumsum(~leaf)) - 1
    inner = np.flatnonzero(~leaf)
    yes, no = forest.yes[inner], forest.no[inner]
    lists = {
        "nodes_featureids": forest.feature[inner],
        "nodes_truenodeids": position[yes],
        "nodes_trueleafs": leaf[yes],
        "nodes_falsenodeids": position[no],
        "nodes_falseleafs": leaf[no],
        "nodes_missing_value_tracks_true": forest.unknown_yes[inner],
        "leaf_targetids": owners[leaf],
        "tree_roots": position[roots],
    }
    tensors = _tensors(forest, ensemble.test, leaf)
    total = graph.add(
        "TreeEnsemble",
        values,
        domain=ML,
        n_targets=ensemble.width,
        aggregate_function=1,  # the sum
        post_transform=0,  # as it is
        **{name: found.astype(np.int64).tolist() for name, found in lists.items()},
        **{name: numpy_helper.from_array(found, name) for name, found in tensors.items()},
    )
    if ensemble.weights is not None:
        known = graph.add("Where", graph.add("IsNaN", values), graph.constant(np.zeros((1, 1))), values)
        total = graph.add("Add", total, graph.add("MatMul", known, graph.constant(ensemble.weights)))
    base = np.asarray(ensemble.base, np.float64).reshape(1, -1)
    return graph.add("Add", total, graph.constant(base)) if base.any() else total


def _tensors(forest: Tree, test: str, leaf: Bools) -> dict[str, npt.NDArray[Any]]:
    """Return thresholds and tests of the inner nodes, weights of the leaves, and sets of categories."""
    modes = np.full(len(leaf), _MODES[test], np.uint8)
    modes[list(forest.members)] = _MEMBER
    found: dict[str, npt.NDArray[Any]] = {
        "nodes_splits": forest.threshold[~leaf],
        "nodes_modes": modes[~leaf],
        "leaf_weights": forest.value[leaf],
    }
    if forest.members:
        sets = [[*forest.members[node], np.nan] for node in sorted(forest.members)]
        found["membership_values"] = np.concatenate(sets)
    return found


def add_leaf_rows(graph: Graph, trees: Sequence[Tree], rows: Sequence[Floats], values: str) -> str:
    """Add nodes that sum a row of numbers for each tree's leaf; return the sum, shape (rows, width).

    ONNX's leaves hold one number: here that of the leaf's row in a table.

    Args:
        graph: takes the nodes.
        trees: their own values are not used.
        rows: for each tree the row of each of its nodes, shape (nodes, width).
        values: what the trees compare, shape (rows, columns).

    Raises:
        CannotCompile: the trees are too large.
    """
    starts = np.cumsum([0, *(len(table) for table in rows)])
    if int(starts[-1]) * rows[0].shape[1] > _MOST_NODES:
        raise CannotCompile(f"its leaves hold {int(starts[-1]) * rows[0].shape[1]:,} numbers")
    numbered = [
        replace(tree, value=np.arange(start, start + len(tree.feature), dtype=np.float64))
        for tree, start in zip(trees, starts[:-1].tolist(), strict=True)
    ]
    targets = range(len(numbered))
    places = add_trees(graph, Ensemble(numbered, targets=targets, width=len(numbered)), values)
    found = graph.add(
        "Gather", graph.constant(np.concatenate(rows)), graph.add("Cast", places, to=_INDICES), axis=0
    )  # shape (rows, trees, width)
    return graph.add("ReduceSum", found, graph.constant(np.array([1], np.int64)), keepdims=0)


def _rooted(tree: Tree) -> Tree:
    """Return the tree with an inner node for a root, as ONNX wants it."""
    if tree.feature[0] != _LEAF:
        return tree
    value = np.array([0.0, tree.value[0]])
    ones, no = np.array([1, _LEAF]), np.zeros(2, np.bool_)
    return Tree(np.array([0, _LEAF]), np.zeros(2), ones, ones, no, value)


def _joined(trees: Sequence[Tree]) -> tuple[Tree, Ints]:
    """Return all trees as one, with children numbered anew, and the roots."""
    starts = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    if starts[-1] > _MOST_NODES:
        raise CannotCompile(f"its trees have {starts[-1]:,} nodes, more than {_MOST_NODES:,}")
    pairs = list(zip(trees, starts[:-1].tolist(), strict=True))
    joined = Tree(
        np.concatenate([tree.feature for tree in trees]),
        np.concatenate([tree.threshold for tree in trees]),
        np.concatenate([np.maximum(tree.yes, 0) + start for tree, start in pairs]),
        np.concatenate([np.maximum(tree.no, 0) + start for tree, start in pairs]),
        np.concatenate([tree.unknown_yes for tree in trees]),
        np.concatenate([tree.value for tree in trees]),
        {node + start: found for tree, start in pairs for node, found in tree.members.items()},
    )
    return joined, starts[:-1]
