"""Make the task that a project declares, and guess the task of a column of labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tidemill.errors import ConfigError
from tidemill.plurals import counted
from tidemill.tasks.binary import Binary
from tidemill.tasks.cost_table import Costs, check_costs, in_order
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.own_metrics import load_metric
from tidemill.tasks.regression import Regression
from tidemill.tasks.target_labels import class_text
from tidemill.tasks.task import Task
from tidemill.tasks.task_names import TaskName, metric_name

__all__ = ["MOST_CLASSES", "Target", "guess_task", "make_task"]

MOST_CLASSES = 50
"""A column with more different values than this is guessed to be a number to predict, or no target."""


@dataclass(frozen=True)
class Target:
    """What a project declares about its target; plain values, so that any process can make the task."""

    kind: TaskName = "binary"
    metric: str | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None
    """For two classes: the one whose probability is the answer; default: the last."""
    costs: Costs = ()
    """Rows and columns in the order of ``classes``; of 0 and 1, where these are not listed."""


def make_task(target: Target, load: Callable[[str], Any]) -> Task:
    """Return the task.

    Args:
        target: what the project declares.
        load: imports ``module:object`` of the project: its own metric.

    Raises:
        ConfigError: the declaration is contradictory; the message says how.

    >>> task = make_task(Target(classes=("yes", "no"), positive="yes"), load=str)
    >>> task.classes, task.metric
    (('no', 'yes'), 'roc_auc')
    """
    try:
        unnamed = target.kind == "custom" and target.metric is None
        metric = "" if unnamed else metric_name(target.kind, target.metric)
    except ValueError as error:
        raise ConfigError(str(error), hint="train.metric in params.yaml names the metric") from error
    own = {metric: load_metric(metric, load, "train.metric in params.yaml")} if ":" in metric else {}
    classes = tuple(class_text(name) for name in target.classes)
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise ConfigError(
            f"dataset.classes in params.yaml names {', '.join(twice)} more than once",
            hint="list each class once; 1, 1.0 and '1' are one class",
        )
    if metric == "neg_cost":
        check_costs(target.costs, len(classes) or 2)
    if target.kind == "binary":
        two = _two(classes, target.positive)
        return Binary(metric, own, two, in_order(target.costs, classes or two, two), load=load)
    if target.kind == "multiclass":
        if len(set(classes)) < 2:
            raise ConfigError(
                f"dataset.classes in params.yaml has {counted(len(classes), 'class', 'classes')}: it must "
                "list all of them",
                hint="list all classes there, as text: classes: [setosa, versicolor, virginica]",
            )
        return Multiclass(metric, own, classes, target.costs, load=load)
    return (Regression if target.kind == "regression" else Custom)(metric, own, load=load)


def guess_task(labels: pl.Series) -> tuple[TaskName, tuple[str, ...]]:
    """Guess the task of a column of labels; return it with the classes, if it has any.

    >>> guess_task(pl.Series(["b", "a", "c", "a"]))
    ('multiclass', ('a', 'b', 'c'))
    >>> guess_task(pl.Series([0.5, 1.5, 2.25]))
    ('regression', ())
    """
    known = labels.drop_nulls()
    if known.dtype.is_float():
        known = known.drop_nans()
    values = known.unique().sort()
    number = known.dtype.is_numeric() and known.dtype != pl.Boolean
    whole = not known.dtype.is_float() or bool((known == known.floor()).all())
    classes = tuple(dict.fromkeys(class_text(value) for value in values.to_list()))
    if len(classes) == 2:
        return "binary", classes
    if number and (not whole or values.len() > 12):
        return "regression", ()
    if values.len() > MOST_CLASSES:
        return "custom", ()
    return "multiclass", classes


def _two(classes: Sequence[str], positive: str | None) -> tuple[str, str]:
    if not classes and positive in (None, "1", "true", "True"):
        return "0", "1"
    if len(classes) != 2:
        raise ConfigError(
            f"a binary target has two classes, but dataset.classes in params.yaml has {len(classes)}",
            hint="list both as text, such as classes: ['no', 'yes'], or set project.task: multiclass",
        )
    chosen = classes[1] if positive is None else class_text(positive)
    if chosen not in classes:
        raise ConfigError(
            f"dataset.positive is {chosen!r}, which is not one of the classes {', '.join(classes)}",
            hint="name the class whose probability is predicted; quote yes and no, which YAML reads as true",
        )
    return next(name for name in classes if name != chosen), chosen
