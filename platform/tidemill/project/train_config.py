"""Defines the section ``train`` of ``params.yaml``: which models a search tries, how, and for how long."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tidemill.project.serve_config import Section
from tidemill.project.trial_resources import TrialResources
from tidemill.tasks.task_names import METRICS, TaskName, metric_name, plain_name

__all__ = ["FamilyName", "TrainConfig", "first_decides", "name_metrics"]

FamilyName = Literal[
    "linear", "random_forest", "hist_gradient_boosting", "xgboost", "lightgbm", "catboost", "mlp"
]
"""A ready-made model family (`tidemill.training.families`)."""


class TrainConfig(Section):
    """Settings of the hyperparameter search."""

    families: tuple[FamilyName, ...] = Field(default=("linear", "hist_gradient_boosting"), min_length=1)
    """Ready-made model families that the trials try, where ``project.training`` is null (docs/project.md)."""
    metric: str = "roc_auc"
    """Metric that trials are compared by; higher is better. The default is that of the task."""
    metrics: tuple[str, ...] = ()
    """Metrics that matter together; the first is ``metric``. The trials that no other one beats in all of
    them are on record."""
    costs: tuple[tuple[Annotated[float, Field(ge=0)], ...], ...] = ()
    """For the metric ``neg_cost``: what a decision (column) costs where a class (row) is true."""
    trials: int = Field(default=12, ge=1)
    """The most trials, spread evenly over the model families."""
    search: Literal["random", "grid", "tpe", "gp"] = "random"
    """How parameters are chosen: at random, all of a grid, or by what earlier trials gave (Optuna's tree of
    Parzen estimators, or a Gaussian process)."""
    grid_points: int = Field(default=3, ge=2)
    """In a grid: how many values a range of numbers is cut into."""
    scheduler: Literal["none", "asha", "hyperband", "median", "pbt"] = "asha"
    """How bad trials are stopped before their last round; or, by ``pbt``, go on as copies of good ones, with
    other parameters."""
    minutes: float | None = Field(default=None, gt=0)
    """The search ends after so many minutes, with the best that it has found; null: when its trials end."""
    cpu_hours: float | None = Field(default=None, gt=0)
    """The search ends when its trials have used so many hours of CPU; null: any number."""
    patience: int | None = Field(default=None, ge=1)
    """The search ends when so many trials in a row brought no better value; null: never."""
    warm_start: int = Field(default=0, ge=0)
    """The search tries the best parameters of so many earlier searches first."""
    max_rows: int | None = Field(default=None, ge=1000)
    """Train on only the latest this many rows (without time: on a random sample); null for all."""
    search_rows: int | None = Field(default=None, ge=1000)
    """Fit trials on a random sample of this many rows, the chosen model on all; null: fit all on all rows."""
    refit: bool = False
    """Fit what serves once more, on all labelled rows, after a twin was judged on the hold-out."""
    max_concurrent: int = Field(default=0, ge=0)
    """Trials that run at once; 0 for as many as there are CPUs and GPUs for."""
    resources: TrialResources = TrialResources()
    """What each of them asks Ray for."""
    fit_resources: TrialResources | None = None
    """What the last fit asks Ray for; null: it is made in the process of the turn."""
    workers: int = Field(default=1, ge=1)
    """Workers that fit the chosen model together, each on a shard of the rows, where its family can; fewer
    where Ray has room for fewer. Each asks for ``fit_resources``, or else for ``resources``."""
    checkpoint_seconds: float = Field(default=2.0, ge=0)
    """A trial keeps a checkpoint after a round when so many seconds have passed since the last one."""
    seed: int = 0

    @model_validator(mode="after")
    def _can_be_a_population(self) -> "TrainConfig":
        if self.scheduler != "pbt":
            return self
        why = None
        if self.search not in ("random", "grid"):
            why = f"train.search {self.search} chooses trials by those that ended, and these begin together. "
            why += "Set train.search to random or grid"
        elif self.max_concurrent:
            why = "train.max_concurrent cannot be kept, as its trials wait for each other. Leave it out: "
            why += "train.resources says how many run at once"
        elif self.workers > 1:
            why = "several workers cannot fit a model whose parameters change. Set train.workers to 1"
        if why is not None:
            raise ValueError(f"train.scheduler is pbt: {why}, or choose another scheduler")
        return self

    @model_validator(mode="after")
    def _decides(self) -> "TrainConfig":
        if self.metrics and self.metrics[0] != self.metric:
            raise ValueError(
                f"train.metric is {plain_name(self.metric)}, but train.metrics begins with "
                f"{plain_name(self.metrics[0])}: the first decides; leave train.metric out, or name the same"
            )
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(
                f"train.metrics names a metric twice: {', '.join(map(plain_name, self.metrics))}"
            )
        return self


def first_decides(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Take the first of ``train.metrics`` as ``train.metric``, where that is not given.

    >>> first_decides({"train": {"metrics": ["f1", "accuracy"]}})["train"]["metric"]
    'f1'
    """
    train = sections.get("train")
    metrics = train.get("metrics") if isinstance(train, dict) else None
    if not isinstance(train, dict) or not isinstance(metrics, list | tuple) or not metrics:
        return dict(sections)
    if train.get("metric") is not None:
        return dict(sections)
    return {**sections, "train": {**train, "metric": metrics[0]}}


def name_metrics(task: TaskName, train: Mapping[str, Any]) -> dict[str, Any]:
    """Write full names for ``train.metrics``.

    Raises:
        ValueError: the task has no such metric, or computes it only as the one that decides.

    >>> name_metrics("regression", {"metrics": ["mae", "r2"]})
    {'metrics': ['neg_mae', 'r2']}
    """
    metrics = train.get("metrics")
    if not isinstance(metrics, list | tuple) or not all(isinstance(one, str) for one in metrics):
        return dict(train)
    full = [metric_name(task, one) for one in metrics]
    if others := [one for one in full[1:] if one not in METRICS[task]]:
        raise ValueError(
            f"train.metrics names {plain_name(others[0])}, which is computed only as the first: let it "
            f"decide, or choose among {', '.join(map(plain_name, METRICS[task]))}"
        )
    return {**train, "metrics": full}
