"""The names of tasks and of their metrics. Imports nothing, so that reading a project's settings is quick."""

import re
from collections.abc import Mapping
from typing import Any, Literal

__all__ = [
    "ALIASES",
    "DEFAULT_METRIC",
    "METRICS",
    "TaskName",
    "allowed_loss",
    "declared_metric",
    "is_perfect",
    "loss_name",
    "metric_name",
    "plain_name",
]

TaskName = Literal["binary", "multiclass", "regression", "custom"]

METRICS: dict[TaskName, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "neg_log_loss", "neg_brier", "f1", "accuracy"),
    "multiclass": ("neg_log_loss", "accuracy", "f1_macro", "f1_weighted", "roc_auc_ovr", "neg_brier"),
    "regression": ("neg_mae", "neg_rmse", "r2", "neg_mape", "neg_median_ae"),
    "custom": (),
}
"""The metrics that are always computed. Higher is better for every metric: those with ``neg_`` are losses
with their sign changed, as in scikit-learn."""

_FURTHER: dict[TaskName, tuple[str, ...]] = {
    "binary": (r"recall_at_precision_[1-9]\d?", "neg_cost"),
    "multiclass": ("neg_cost",),
    "regression": (r"neg_pinball_[1-9]\d?",),
    "custom": (),
}
"""Patterns of metrics that are computed where ``train.metric`` names them."""

DEFAULT_METRIC: dict[TaskName, str] = {
    "binary": "roc_auc",
    "multiclass": "neg_log_loss",
    "regression": "neg_mae",
}

ALIASES = {
    "auc": "roc_auc",
    "log_loss": "neg_log_loss",
    "brier": "neg_brier",
    "mae": "neg_mae",
    "rmse": "neg_rmse",
    "mape": "neg_mape",
    "median_ae": "neg_median_ae",
    "cost": "neg_cost",
}
_ROUNDING = 1e-9
_PROJECTS_OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


_UNITS = re.compile(r"neg_(mae|rmse|median_ae|mape|log_loss|cost|pinball_.*)|.*:.*")
"""Metrics whose values are in units of their own, not between 0 and 1."""


def loss_name(metric: str) -> str | None:
    """Return the name of the loss that a metric is with its sign changed; None if it is not a loss.

    >>> loss_name("neg_mae"), loss_name("roc_auc")
    ('mae', None)
    """
    return metric.removeprefix("neg_") if metric.startswith("neg_") else None


def plain_name(metric: str) -> str:
    """Return what a metric is called in params.yaml, where nothing says that a loss has its sign changed.

    >>> plain_name("neg_mae"), plain_name("roc_auc"), plain_name("pipelines.ranking:overlap")
    ('mae', 'roc_auc', 'pipelines.ranking:overlap')
    """
    return loss_name(metric) or metric


def is_perfect(metric: str, value: float) -> bool:
    """Return whether a metric has the best value there is; False for a metric of the project's own.

    >>> is_perfect("roc_auc", 1.0), is_perfect("neg_mae", -0.0), is_perfect("neg_mae", -0.1)
    (True, True, False)
    """
    if _PROJECTS_OWN.fullmatch(metric):
        return False
    return value >= (0.0 if loss_name(metric) else 1.0) - _ROUNDING


def allowed_loss(metric: str, limit: float, share: float, before: float) -> float:
    """Return how much of a metric may be lost where a project sets no limit.

    Args:
        metric: as `metric_name` returns it.
        limit: for metrics between 0 and 1.
        share: of ``before``, for metrics in units of their own, such as minutes.
        before: the metric's value before the loss.

    >>> allowed_loss("roc_auc", 0.03, 0.1, 0.8), allowed_loss("neg_mae", 0.03, 0.1, -12.0)
    (0.03, 1.2000000000000002)
    """
    return share * abs(before) if _UNITS.fullmatch(metric) else limit


def metric_name(task: TaskName, given: str | None) -> str:
    """Return the full name of a metric of a task; of the task's default metric if none is given.

    Args:
        task: the project's task.
        given: a name of `METRICS`, one of `ALIASES`, ``recall_at_precision_90`` (binary),
            ``neg_pinball_90`` (regression), ``neg_cost`` (classes), or ``module:function`` of the project.

    Raises:
        ValueError: the task has no such metric; the message lists those that it has.

    >>> metric_name("regression", "mae"), metric_name("binary", None)
    ('neg_mae', 'roc_auc')
    >>> metric_name("regression", "roc_auc")
    Traceback (most recent call last):
    ValueError: regression has no metric 'roc_auc': choose mae, rmse, r2, mape, median_ae, pinball_90, \
or module:function of the project
    """
    if given is None:
        if task not in DEFAULT_METRIC:
            raise ValueError(
                f"the task {task} has no metric of its own: name one of the project's, `module:function`"
            )
        return DEFAULT_METRIC[task]
    name = ALIASES.get(given, given)
    if name in METRICS[task] or _PROJECTS_OWN.fullmatch(name):
        return name
    if f"neg_{name}" in METRICS[task] or any(
        re.fullmatch(pattern, f"neg_{name}") for pattern in _FURTHER[task]
    ):
        return f"neg_{name}"
    if any(re.fullmatch(pattern, name) for pattern in _FURTHER[task]):
        return name
    further = [pattern.replace(r"[1-9]\d?", "90") for pattern in _FURTHER[task]]
    raise ValueError(
        f"{task} has no metric {given!r}: choose "
        + ", ".join((*map(plain_name, (*METRICS[task], *further)), "or module:function of the project"))
    )


def declared_metric(params: Mapping[str, Any]) -> str:
    """Return the metric that a ``params.yaml`` judges by, as far as it can be read without checking the file.

    >>> declared_metric({"project": {"task": "regression"}}), declared_metric({})
    ('neg_mae', 'roc_auc')
    """
    project, train = params.get("project") or {}, params.get("train") or {}
    task = project.get("task", "binary")
    given = train.get("metric") or (params.get("gate") or {}).get("metric")
    try:
        return metric_name(task, given)
    except (KeyError, ValueError):
        return str(given)
