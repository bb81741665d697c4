"""Scikit-learn's random forest; numbers that are missing take a branch of their own."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Saved
from tidemill.training.families.kept_estimators import restored, state_of
from tidemill.training.families.preparation import estimators, fit_each
from tidemill.training.families.search_spaces import any_of, between
from tidemill.training.model_spec import Family

__all__ = ["random_forest"]

_ROUNDS = 4
_TREES = 25
"""Each round grows as many more."""


def random_forest(task: TaskName) -> Family:
    """Return the family for a task.

    >>> random_forest("binary").rounds
    4
    """
    space = {
        "max_leaf_nodes": any_of([128, 512, 2048]),  # bounds the size of the model
        "min_samples_leaf": any_of([1, 3, 10, 30]),
        "max_features": between(0.2, 0.9),
    }
    steps = partial(_steps, task)
    return Family("random_forest", space, partial(estimators, steps), _ROUNDS, steps=steps)


def _steps(
    task: TaskName,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> Iterator[tuple[Pipeline, Callable[[], bytes]]]:
    """Grow a forest by a few trees a round."""
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    model = kind(**params, warm_start=True, random_state=0)
    done = 0 if saved is None else saved.rounds
    if saved is not None:
        model = restored(saved.state)
        model.set_params(**params)
    grown = (model.set_params(n_estimators=round_ * _TREES) for round_ in range(done + 1, _ROUNDS + 1))
    return fit_each(task, features, labels, grown, state_of)
