"""Scikit-learn's histogram gradient boosting; numbers that are missing take a branch of their own."""

from functools import partial

from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import estimators
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.families.tree_rounds import grow_on
from tidemill.training.model_spec import Family

__all__ = ["hist_gradient_boosting"]

_TREES = (25, 50, 75, 100, 125, 150)
"""For each class, by round."""


def hist_gradient_boosting(task: TaskName) -> Family:
    """Return the family for a task.

    >>> "loss" in hist_gradient_boosting("regression").space, "loss" in hist_gradient_boosting("binary").space
    (True, False)
    """
    space = {
        "learning_rate": log_between(0.03, 0.2),
        "max_leaf_nodes": any_of([15, 31, 63]),
        "min_samples_leaf": any_of([10, 20, 50, 100]),
        "l2_regularization": log_between(0.01, 10.0),
        "max_features": between(0.4, 1.0),
    }
    if task == "regression":
        space["loss"] = any_of(["squared_error", "absolute_error"])
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    begin = partial(kind, early_stopping=False, warm_start=True, random_state=0)
    steps = partial(grow_on, task, begin, "max_iter", _TREES)
    fit, lasting = partial(estimators, steps), ("loss",)
    return Family("hist_gradient_boosting", space, fit, len(_TREES), steps=steps, lasting=lasting)
