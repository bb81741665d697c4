"""Read XGBoost's and LightGBM's boosted trees as `Ensemble`s, from their JSON dumps.

Neither package is imported: the estimator's own methods give the JSON.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidemill.training.compiling.onnx_graph import CannotCompile
from tidemill.training.compiling.trees import Ensemble, Tree, as_float32

__all__ = ["lightgbm", "xgboost"]

_LOGISTIC = ("binary:logistic", "reg:logistic")


def xgboost(model: Any) -> Ensemble:
    """Return the margin of an XGBClassifier.

    Raises:
        CannotCompile: it is not a binary classifier of trees, or was given text as categories.
    """
    booster = model.get_booster()
    described = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective = described["objective"]["name"]
    if objective not in _LOGISTIC:
        raise CannotCompile(f"its objective is {objective!r}")
    boosting = described["gradient_booster"]
    weights = boosting.get("weight_drop")
    boosting = boosting.get("gbtree", boosting)
    if "model" not in boosting or "trees" not in boosting["model"]:
        raise CannotCompile(f"its booster is {boosting.get('name')!r}, not one of trees")
    if boosting["model"].get("cats", {}).get("enc"):
        raise CannotCompile("it was fitted on categories that are no numbers")
    trees = boosting["model"]["trees"]
    best = getattr(model, "best_iteration", None)  # XGBoost has it after early stopping alone
    used = range(booster.num_boosted_rounds() if best is None else best + 1)
    each = len(trees) // max(1, booster.num_boosted_rounds())
    chosen = [number for round_ in used for number in range(round_ * each, (round_ + 1) * each)]
    base = float(np.ravel(json.loads(described["learner_model_param"]["base_score"]))[0])
    return Ensemble(
        [_xgboost_tree(trees[number], weights[number] if weights else 1.0) for number in chosen],
        float(np.log(base / (1 - base))),
        "<",
    )


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


def lightgbm(model: Any) -> Ensemble:
    """Return the margin of an LGBMClassifier, or of a Booster.

    Raises:
        CannotCompile: it is not a binary classifier of plain trees, or was given text as categories.
    """
    booster = getattr(model, "booster_", model)
    described = booster.dump_model(num_iteration=getattr(model, "best_iteration_", None) or None)
    objective = described.get("objective", "")
    if described["num_tree_per_iteration"] != 1 or objective.partition(" ")[0] not in (
        "binary",
        "cross_entropy",
        "xentropy",
    ):
        raise CannotCompile(f"its objective is {objective!r}")
    if any(booster.pandas_categorical or ()):
        raise CannotCompile("it was fitted on pandas categories")
    options = dict(part.partition(":")[::2] for part in objective.split()[1:])
    found = described["tree_info"]
    scale = float(options.get("sigmoid", 1.0)) / (len(found) if described.get("average_output") else 1)
    return Ensemble([_lightgbm_tree(tree["tree_structure"], scale) for tree in found])


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
