"""XGBoost's boosted trees; numbers that are missing take a branch of their own."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import prepare_rows, with_preparation
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.model_spec import Family

__all__ = ["xgboost"]

_ROUNDS = 6
_TREES = 50
"""For each class; each round grows as many more."""
_MORE = 20
"""A model that goes on from an earlier one gets as many more (`benchmarks/warm_start.py`)."""
_NEXT_TO_NOTHING = 1e-6
_FIXED = {"tree_method": "hist", "n_jobs": 1, "random_state": 0}


def xgboost(task: TaskName) -> Family:
    """Return the family for a task.

    >>> xgboost("binary").rounds
    6
    """
    space = {
        "learning_rate": log_between(0.03, 0.2),
        "max_depth": any_of([3, 4, 6, 8]),
        "min_child_weight": log_between(1.0, 30.0),
        "reg_lambda": log_between(0.1, 10.0),
        "subsample": between(0.6, 1.0),
        "colsample_bytree": between(0.5, 1.0),
    }
    if task == "regression":
        space["objective"] = any_of(["reg:squarederror", "reg:absoluteerror"])
    return Family("xgboost", space, partial(_fit, task), _ROUNDS, partial(_go_on, task))


def _fit(
    task: TaskName, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Iterator[Pipeline]:
    """Grow a boosted ensemble by a few trees a round."""
    from xgboost import XGBClassifier, XGBRegressor  # an optional package

    prepare, prepared = prepare_rows(task, features, labels, dense=False)
    kind, weights = XGBRegressor, None
    if task != "regression":
        kind = XGBClassifier
        prepared, labels, weights = _with_all_classes(prepared, labels)
    before = None
    for _ in range(_ROUNDS):
        model = kind(**params, **_FIXED, n_estimators=_TREES)
        model.fit(prepared, labels, sample_weight=weights, xgb_model=before)
        before = model.get_booster()
        yield with_preparation(prepare, model)


def _go_on(
    task: TaskName,
    earlier: Pipeline,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
) -> Iterator[Pipeline]:
    """Grow more trees by other rows; text and numbers are prepared as before."""
    from xgboost import XGBClassifier, XGBRegressor  # an optional package

    prepare, before = earlier.named_steps["prepare"], earlier.named_steps["model"]
    kind = XGBRegressor if task == "regression" else XGBClassifier
    # Where a model is given, XGBoost does not begin with the seed but where its last training left off.
    model = kind(**params, **_FIXED, n_estimators=_MORE, seed_per_iteration=True)
    model.fit(prepare.transform(features), labels, xgb_model=before.get_booster())
    yield with_preparation(prepare, model)


def _with_all_classes(prepared: Any, labels: "pd.Series[Any]") -> tuple[Any, "pd.Series[Any]", Any]:
    """Add a row that weighs nothing for each class that has none: XGBoost wants all numbers from 0 on."""
    missing = sorted(set(range(int(labels.max()) + 1)) - set(labels.tolist()))
    if not missing:
        return prepared, labels, None
    rows = np.concatenate([prepared, np.repeat(prepared[:1], len(missing), axis=0)])
    weights = np.concatenate([np.ones(len(prepared)), np.full(len(missing), _NEXT_TO_NOTHING)])
    return rows, pd.concat([labels, pd.Series(missing, dtype=labels.dtype)]), weights
