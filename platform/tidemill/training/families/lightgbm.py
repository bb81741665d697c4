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
    shard_with_all_classes,
    with_preparation,
)
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
    from lightgbm import Booster  # an optional package

    kind, before = _kind(task), None
    values, labels, weights = shard.values, pd.Series(shard.target), None
    if task != "regression":
        values, labels, weights = shard_with_all_classes(shard, shard.facts["classes"])
    there, every = 0, _TREES[rounds - 1]
    if saved is not None:
        there, before = _TREES[saved.rounds - 1], Booster(model_str=saved.state.decode())

    def after_tree(now: Any) -> None:
        trees = there + now.iteration + 1
        if trees in _TREES:
            keep(_TREES.index(trees) + 1, lambda: now.model.model_to_string().encode())

    settings = {**params, **_FIXED}
    model = kind(**settings, **_SHARED, **shard.network, n_estimators=every - there)
    model.fit(values, labels, sample_weight=weights, init_model=before, callbacks=[after_tree])
    model.booster_.free_network()
    return _without_network(kind(**settings, n_estimators=every), model)


def _kind(task: TaskName) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor  # an optional package

    return LGBMRegressor if task == "regression" else LGBMClassifier


def _without_network(found: Any, fitted: Any) -> Any:
    """Give a model what was fitted, but for the addresses of the workers."""
    from lightgbm import Booster  # an optional package

    settings = fitted.get_params()
    for name, value in vars(fitted).items():
        if name not in settings and name != "_other_params":
            setattr(found, name, value)
    found._Booster = Booster(model_str=_OF_NETWORK.sub("", fitted.booster_.model_to_string()))
    return found
