"""Scikit-learn's histogram gradient boosting; numbers that are missing take a branch of their own."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Saved
from tidemill.training.families.kept_estimators import restored, state_of
from tidemill.training.families.preparation import estimators, fit_each
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.model_spec import Family

__all__ = ["hist_gradient_boosting"]

_ROUNDS = 6
_TREES = 25
"""For each class; each round grows as many more."""


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
    steps = partial(_steps, task)
    fit, lasting = partial(estimators, steps), ("loss",)
    return Family("hist_gradient_boosting", space, fit, _ROUNDS, steps=steps, lasting=lasting)


def _steps(
    task: TaskName,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> Iterator[tuple[Pipeline, Callable[[], bytes]]]:
    """Grow a boosted ensemble by a few trees a round."""
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(**params, early_stopping=False, warm_start=True, random_state=0)
    done = 0 if saved is None else saved.rounds
    if saved is not None:
        model = restored(saved.state)
        model.set_params(**params)
    grown = (model.set_params(max_iter=round_ * _TREES) for round_ in range(done + 1, _ROUNDS + 1))
    return fit_each(task, features, labels, grown, state_of)
