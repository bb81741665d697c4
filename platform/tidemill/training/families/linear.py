"""Linear models: logistic regression for classes, ridge regression for numbers."""

import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.families.preparation import prepare_rows, with_preparation
from tidemill.training.families.search_spaces import log_between
from tidemill.training.model_spec import Family

__all__ = ["linear"]


def linear(task: TaskName) -> Family:
    """Return the family for a task.

    >>> linear("regression").rounds
    1
    """
    strength = log_between(0.1, 1e4) if task == "regression" else log_between(1e-4, 10.0)
    return Family("linear", {"alpha" if task == "regression" else "C": strength}, partial(_fit, task), 1)


def _fit(
    task: TaskName, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Iterator[Pipeline]:
    prepare, prepared = prepare_rows(task, features, labels, dense=True)
    model = Ridge(**params) if task == "regression" else LogisticRegression(**params, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the validation rows judge it as it is
        model.fit(prepared, labels)
    yield with_preparation(prepare, model)
