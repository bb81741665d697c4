"""LightGBM's boosted trees; numbers that are missing take a branch of their own."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Distributed, Keep, Saved, Shard
from tidemill.training.families.preparation import (
    estimators,
    prepare_for_workers,
    with_preparation,
)
from tidemill.training.families.private_lightgbm import as_estimator, rows_of
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.families.tree_rounds import begin_anew
from tidemill.training.model_spec import Family

__all__ = ["lightgbm"]

_TREES = (50, 100, 200)
"""For each class, by round. Each round begins anew: a continued model holds what skops cannot check."""
_MORE = 20
"""A model that goes on from an earlier one gets as many more."""
_FIXED = {
    "subsample_freq": 1,
    "n_jobs": 1,
    "random_state": 0,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}
_OF_ESTIMATORS = ("n_estimators", "importance_type", "class_weight")
"""Parameters that LightGBM itself does not know."""
_SHARED = {"tree_learner": "data", "pre_partition": True}
_OF_NETWORK = re.compile(
    r"^\[(machines|num_machines|local_listen_port|tree_learner|pre_partition): .*\]\n", re.MULTILINE
)
"""What a model's text says of the workers that made it, whose addresses are others each time."""


def lightgbm(task: TaskName) -> Family:
    """Return the family for a task.

    >>> lightgbm("binary").rounds
    3
    """
    space = {
        "learning_rate": log_between(0.03, 0.2),
        "num_leaves": any_of([15, 31, 63]),
        "min_child_samples": any_of([10, 20, 50, 100]),
        "reg_lambda": log_between(0.01, 10.0),
        "subsample": between(0.6, 1.0),
        "colsample_bytree": between(0.5, 1.0),
    }
    if task == "regression":
        space["objective"] = any_of(["regression", "regression_l1"])
    together = Distributed("lightgbm", partial(prepare_for_workers, task), partial(_fit_shard, task))
    steps = partial(begin_anew, task, partial(_kind, task), _FIXED, "n_estimators", _TREES)
    fit, go_on = partial(estimators, steps), partial(_go_on, task)
    return Family("lightgbm", space, fit, len(_TREES), go_on, together, steps)


def _go_on(
    task: TaskName,
    earlier: Pipeline,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
) -> Iterator[Pipeline]:
    """Grow more trees by other rows; text and numbers are prepared as before."""
    prepare, before = earlier.named_steps["prepare"], earlier.named_steps["model"]
    model = _kind(task)(**params, **_FIXED, n_estimators=_MORE)
    model.fit(prepare.transform(features), labels, init_model=before.booster_)
    yield with_preparation(
        prepare, deepcopy(model)
    )  # a copy has no link to the first model, which is not saved


def _fit_shard(
    task: TaskName, params: Mapping[str, Any], shard: Shard, rounds: int, saved: Saved | None, keep: Keep
) -> Any:
    """Grow the trees of all rounds at once, by histograms that the workers add up."""
    from lightgbm import Booster, train  # an optional package

    classes, every = list(shard.facts.get("classes", ())), _TREES[rounds - 1]
    model = _kind(task)(**params, **_FIXED, n_estimators=every)
    there, before = 0, None
    if saved is not None:
        there, before = _TREES[saved.rounds - 1], Booster(model_str=saved.state.decode())

    def after_tree(now: Any) -> None:
        if (trees := now.iteration + 1) in _TREES:
            keep(_TREES.index(trees) + 1, lambda: now.model.model_to_string().encode())

    given = {
        name: value
        for name, value in model.get_params().items()
        if value is not None and name not in _OF_ESTIMATORS
    }
    grown = train(
        {**_usual(classes), **given, **_SHARED, **shard.network},
        rows_of(shard, classes),
        every - there,
        init_model=before,
        callbacks=[after_tree],
    )
    grown.free_network()
    return as_estimator(model, shard.files[0].shape[1], classes, _OF_NETWORK.sub("", grown.model_to_string()))


def _usual(classes: list[int]) -> dict[str, Any]:
    """Return what trees are to lessen, as the estimator would choose it."""
    if len(classes) > 2:
        return {"objective": "multiclass", "num_class": len(classes)}
    return {"objective": "binary" if classes else "regression"}


def _kind(task: TaskName) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor  # an optional package

    return LGBMRegressor if task == "regression" else LGBMClassifier
