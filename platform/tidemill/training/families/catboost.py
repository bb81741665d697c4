"""CatBoost's boosted trees; numbers that are missing count as smaller than all others."""

from functools import partial
from typing import Any

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import estimators
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.families.tree_rounds import begin_anew
from tidemill.training.model_spec import Family

__all__ = ["catboost"]

_TREES = (50, 100, 200)
"""By round. Each round begins anew."""
_FIXED = {
    "boosting_type": "Plain",
    "bootstrap_type": "Bernoulli",
    "thread_count": 1,
    "random_seed": 0,
    "allow_writing_files": False,
    "logging_level": "Silent",
}


def catboost(task: TaskName) -> Family:
    """Return the family for a task.

    Text is encoded as for the other families, and not by CatBoost itself: its own encoding has no ONNX form.

    >>> catboost("binary").rounds
    3
    """
    space = {
        "learning_rate": log_between(0.03, 0.2),
        "depth": any_of([4, 6, 8]),
        "min_data_in_leaf": any_of([1, 10, 50]),
        "l2_leaf_reg": log_between(0.5, 20.0),
        "subsample": between(0.6, 1.0),
        "rsm": between(0.5, 1.0),
    }
    if task == "regression":
        space["loss_function"] = any_of(["RMSE", "MAE"])
    steps = partial(begin_anew, task, partial(_kind, task), _FIXED, "iterations", _TREES)
    return Family("catboost", space, partial(estimators, steps), len(_TREES), steps=steps)


def _kind(task: TaskName) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor  # an optional package

    return CatBoostRegressor if task == "regression" else CatBoostClassifier
