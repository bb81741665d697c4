"""Judges a model against an answer that is the same for every row."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.digits import digits_apart
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task import Answers, Task

__all__ = ["worse_than_constant"]

_NAMES = {
    "binary": "the share of the positive class",
    "multiclass": "the shares of the classes",
    "regression": "the mean",
}


def worse_than_constant(
    task: Task, truth: npt.NDArray[Any], metrics: Mapping[str, float], version: str
) -> tuple[str, ...]:
    """Return a warning for each metric that is worse than that of one answer for all rows.

    The metric that decides is compared, and r2 where the task has it. A custom task has no such answer.

    Args:
        task: the project's.
        truth: the labels of the hold-out.
        metrics: the model's, as `Task.evaluate` returns them.
        version: the model's.

    >>> from tidemill.tasks.regression import Regression
    >>> worse_than_constant(Regression("r2"), np.array([1.0, 2.0, 3.0]), {"r2": -0.15}, "2")
    ('warning: version 2 is worse than always answering the mean (r2 -0.1500 against 0.0000)',)
    """
    answers = _constant(task, truth)
    if answers is None:
        return ()
    constant, found = task.evaluate(truth, answers), []
    for name in dict.fromkeys((task.metric, "r2")):
        mine, theirs = metrics.get(name, math.nan), constant.get(name, math.nan)
        if mine < theirs:  # not where one is NaN
            digits = digits_apart((mine, theirs))
            metric = metric_of(name)
            values = f"{metric.said(mine, digits)} against {metric.number(theirs, digits)}"
            found.append(
                f"warning: version {version} is worse than always answering {_NAMES[task.kind]} ({values})"
            )
    return tuple(found)


def _constant(task: Task, truth: npt.NDArray[Any]) -> Answers | None:
    if task.kind not in _NAMES or not len(truth):
        return None
    known = np.asarray(truth, dtype=np.float64)
    if task.kind != "multiclass":
        return np.full(len(known), known.mean())
    classes = len(task.classes)  # type: ignore[attr-defined]
    shares = np.bincount(known.astype(np.int64), minlength=classes) / len(known)
    return np.tile(shares, (len(known), 1))
