"""Scikit-learn's random forest; numbers that are missing take a branch of their own."""

from functools import partial

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import estimators
from tidemill.training.families.search_spaces import any_of, between
from tidemill.training.families.tree_rounds import grow_on
from tidemill.training.model_spec import Family

__all__ = ["random_forest"]

_TREES = (25, 50, 75, 100)
"""By round."""


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
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    begin = partial(kind, warm_start=True, random_state=0)
    steps = partial(grow_on, task, begin, "n_estimators", _TREES)
    return Family("random_forest", space, partial(estimators, steps), len(_TREES), steps=steps)
