"""Read XGBoost's, LightGBM's and CatBoost's boosted trees as `Ensemble`s, from their JSON dumps.

No package is imported: the estimator's own methods give the JSON.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.training.compiling.onnx_graph import CannotCompile
from tidemill.training.compiling.trees import Ensemble, Tree, as_float32

__all__ = [
    "catboost",
    "classes_of",
    "lightgbm",
    "lightgbm_classes",
    "lightgbm_value",
    "xgboost",
    "xgboost_classes",
    "xgboost_value",
]

_LOGISTIC = ("binary:logistic", "reg:logistic")
_VALUES = {
    **dict.fromkeys(
        (
            "reg:squarederror",
            "reg:absoluteerror",
            "reg:pseudohubererror",
            "reg:squaredlogerror",
            "reg:quantileerror",
            "regression",
            "regression_l1",
            "huber",
            "fair",
            "quantile",
            "mape",
        )
    ),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "poisson", "gamma", "tweedie"), "Exp"),
    "reg:logistic": "Sigmoid",
}
"""Objectives of regressions of both packages, and what turns the margin into the value."""

_CATBOOST = ("Logloss", "CrossEntropy", "MultiClass", "RMSE", "MAE", "Quantile", "Huber", "MAPE")


def xgboost(model: Any) -> Ensemble:
    """Return the margin of an XGBClassifier of two classes.

    Raises:
        CannotCompile: it is not a binary classifier, or was given text as categories.
    """
    objective, found = _xgboost(model)
    if objective not in _LOGISTIC:
        raise CannotCompile(f"its objective is {objective!r}")
    return found


def xgboost_classes(model: Any) -> Ensemble:
    """Return the margin of each class by an XGBClassifier of several.

    Raises:
        CannotCompile: it does not give probabilities, or was given text as categories.
    """
    objective, found = _xgboost(model)
    if objective != "multi:softprob":
        raise CannotCompile(f"its objective is {objective!r}")
    return found


def xgboost_value(model: Any) -> tuple[Ensemble, str | None]:
    """Return the margin of an XGBRegressor, and the operator that makes the value of it.

    Raises:
        CannotCompile: its objective is not known, it gives several values, or was given text as categories.
    """
    objective, found = _xgboost(model)
    if found.width > 1:
        raise CannotCompile("it gives several values a row")
    return found, _link(objective)


def _xgboost(model: Any) -> tuple[str, Ensemble]:
    """Return the objective of an estimator, and its trees, or the weights of a linear booster."""
    booster = model.get_booster()
    described = json.loads(bytes(booster.save_raw("json")))["learner"]
    boosting = described["gradient_booster"]
    weights = boosting.get("weight_drop")
    boosting = boosting.get("gbtree", boosting)
    objective, learnt = described["objective"]["name"], described["learner_model_param"]
    base = np.array([_margin(objective, one) for one in np.ravel(json.loads(learnt["base_score"]))])
    if boosting.get("name") == "gblinear":
        weights = np.array(boosting["model"]["weights"], np.float32).astype(np.float64)
        weights = weights.reshape(int(learnt["num_feature"]) + 1, -1)  # the last row is always added
        shift = base[0] + weights[-1]  # XGBoost adds the first class's base to all classes
        return objective, Ensemble([], shift.tolist(), width=weights.shape[1], weights=weights[:-1])
    if boosting["model"].get("cats", {}).get("enc"):
        raise CannotCompile("it was fitted on categories that are no numbers")
    trees, targets = boosting["model"]["trees"], boosting["model"]["tree_info"]
    best = getattr(model, "best_iteration", None)  # XGBoost has it after early stopping alone
    used = range(booster.num_boosted_rounds() if best is None else best + 1)
    each = len(trees) // max(1, booster.num_boosted_rounds())
    chosen = [number for round_ in used for number in range(round_ * each, (round_ + 1) * each)]
    found = [_xgboost_tree(trees[number], weights[number] if weights else 1.0) for number in chosen]
    owners, width = [int(targets[number]) for number in chosen], max(targets, default=0) + 1
    return objective, Ensemble(found, base.tolist(), "<", owners, width)


def _margin(objective: str, answer: float) -> float:
    if objective in _LOGISTIC:
        return float(np.log(answer / (1 - answer)))
    return float(np.log(answer)) if _VALUES.get(objective) == "Exp" else float(answer)


def _link(objective: str) -> str | None:
    if objective not in _VALUES:
        raise CannotCompile(f"its objective is {objective!r}")
    return _VALUES[objective]


def _xgboost_tree(tree: Mapping[str, Any], weight: float) -> Tree:
    left = np.array(tree["left_children"], np.int64)
    right = np.array(tree["right_children"], np.int64)
    unknown_left = np.array(tree["default_left"]).astype(np.bool_)
    if int(tree["tree_param"].get("size_leaf_vector") or 1) > 1:
        raise CannotCompile("its leaves are vectors")
    members: dict[int, tuple[float, ...]] = {}
    starts = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    for node, start, size in starts:  # these go right, all else left
        members[node] = tuple(float(code) for code in tree["categories"][start : start + size])
        left[node], right[node] = right[node], left[node]
        unknown_left[node] = not unknown_left[node]
    values = np.array(tree["split_conditions"], np.float32).astype(np.float64)
    return Tree(
        np.where(left < 0, -1, np.array(tree["split_indices"])).astype(np.int64),
        as_float32(values, "<"),
        left,
        right,
        unknown_left,
        values * weight,
        members,
    )


def catboost(model: Any) -> Ensemble:
    """Return what a CatBoost model adds up: a margin, one for each of several classes, or the value.

    Raises:
        CannotCompile: its objective is not known, or it was given text as categories.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        model.save_model(str(file), format="json")
        described = json.loads(file.read_text())
    objective = described["model_info"]["params"]["loss_function"]["type"]
    if objective not in _CATBOOST:
        raise CannotCompile(f"its objective is {objective!r}")
    if "oblivious_trees" not in described:
        raise CannotCompile("the levels of its trees have several splits")
    about = {one["feature_index"]: one for one in described["features_info"]["float_features"]}
    scale, base = described["scale_and_bias"]
    trees: list[Tree] = []
    for tree in described["oblivious_trees"]:
        values = np.array(tree["leaf_values"]).reshape(-1, len(base)) * scale
        trees += [_catboost_tree(tree["splits"] or [], one, about) for one in values.T]
    return Ensemble(trees, base, "<=", [number % len(base) for number in range(len(trees))], len(base))


def _catboost_tree(
    splits: list[dict[str, Any]], values: npt.NDArray[np.float64], about: Mapping[int, Any]
) -> Tree:
    """Return a tree whose levels each have one split; the last split is that of the root."""
    if any(split["split_type"] != "FloatFeature" for split in splits):
        raise CannotCompile("it was fitted on categories or text")
    depth, leaves = len(splits), len(values)
    numbers = np.arange(leaves - 1)
    # By the first split a leaf's place is even or odd; by the last it lies in the lower or the upper half.
    level = [depth - int(number + 1).bit_length() for number in numbers]
    used = [about[split["float_feature_index"]] for split in splits]
    columns = np.array([one["flat_feature_index"] for one in used], np.int64)
    borders = as_float32(np.array([split["border"] for split in splits], np.float64), "<=")
    low = np.array([one["nan_value_treatment"] != "AsTrue" for one in used], np.bool_)
    rest = np.full(leaves, -1)
    return Tree(
        np.concatenate([columns[level], rest]),
        np.concatenate([borders[level], np.zeros(leaves)]),
        np.concatenate([2 * numbers + 1, rest]),
        np.concatenate([2 * numbers + 2, rest]),
        np.concatenate([low[level], np.zeros(leaves, np.bool_)]),
        np.concatenate([np.zeros(leaves - 1), values]),
    )


def classes_of(model: Any) -> int:
    """Return how many classes a Booster of LightGBM tells apart; 0 for other models."""
    if not hasattr(model, "num_model_per_iteration"):
        return 0
    return max(2, int(model.num_model_per_iteration()))


def lightgbm(model: Any) -> Ensemble:
    """Return the margin of an LGBMClassifier of two classes, or of a Booster.

    Raises:
        CannotCompile: it is not a binary classifier of plain trees, or was given text as categories.
    """
    name, options, trees, width = _lightgbm(model)
    if width != 1 or name not in ("binary", "cross_entropy", "xentropy"):
        raise CannotCompile(f"its objective is {name!r}")
    scale = float(options.get("sigmoid", 1.0))
    return Ensemble([replace(tree, value=tree.value * scale) for tree in trees])


def lightgbm_classes(model: Any) -> Ensemble:
    """Return the margin of each class by an LGBMClassifier of several.

    Raises:
        CannotCompile: it is not one of plain trees, or was given text as categories.
    """
    name, _, trees, width = _lightgbm(model)
    if name != "multiclass":
        raise CannotCompile(f"its objective is {name!r}")
    return Ensemble(trees, targets=[number % width for number in range(len(trees))], width=width)


def lightgbm_value(model: Any) -> tuple[Ensemble, str | None]:
    """Return the margin of an LGBMRegressor, or of a Booster, and the operator that makes the value of it.

    Raises:
        CannotCompile: its objective is not known, or it was given text as categories.
    """
    name, options, trees, _ = _lightgbm(model)
    if "sqrt" in options:
        raise CannotCompile("it was fitted to the root of the target")
    return Ensemble(trees), _link(name)


def _lightgbm(model: Any) -> tuple[str, dict[str, str], list[Tree], int]:
    """Return the objective, its options, the trees, and how many there are an iteration."""
    booster = getattr(model, "booster_", model)
    described = booster.dump_model(num_iteration=getattr(model, "best_iteration_", None) or None)
    name, *options = described.get("objective", "").split() or [""]
    if any(booster.pandas_categorical or ()):
        raise CannotCompile("it was fitted on pandas categories")
    found, width = described["tree_info"], int(described["num_tree_per_iteration"])
    scale = width / len(found) if found and described.get("average_output") else 1.0
    trees = [_lightgbm_tree(tree["tree_structure"], scale) for tree in found]
    return name, dict(part.partition(":")[::2] for part in options), trees, width


def _lightgbm_tree(root: dict[str, Any], scale: float) -> Tree:
    nodes = [root]
    for node in nodes:  # grows during the loop
        nodes += [node[side] for side in ("left_child", "right_child") if side in node]
    place = {id(node): number for number, node in enumerate(nodes)}
    feature, threshold, yes, no, unknown, value, members = [], [], [], [], [], [], {}
    for number, node in enumerate(nodes):
        inner = "split_feature" in node
        if "leaf_coeff" in node:
            raise CannotCompile("its leaves are linear models")
        feature.append(node["split_feature"] if inner else -1)
        yes.append(place[id(node["left_child"])] if inner else -1)
        no.append(place[id(node["right_child"])] if inner else -1)
        value.append(0.0 if inner else node["leaf_value"] * scale)
        if inner and node["decision_type"] == "==":
            members[number] = tuple(float(code) for code in str(node["threshold"]).split("||"))
        if inner and node["missing_type"] == "Zero":
            raise CannotCompile("it takes zero for unknown")
        compared = inner and number not in members
        threshold.append(node["threshold"] if compared else 0.0)
        # Where no value was missing in training, an unknown one counts as zero.
        zero_yes = node["default_left"] if inner and node["missing_type"] == "NaN" else threshold[-1] >= 0
        unknown.append(bool(zero_yes) if compared else False)
    return Tree(
        np.array(feature, np.int64),
        np.array(threshold, np.float64),
        np.array(yes, np.int64),
        np.array(no, np.int64),
        np.array(unknown, np.bool_),
        np.array(value, np.float64),
        members,
    )
