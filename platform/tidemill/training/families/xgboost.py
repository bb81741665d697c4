"""XGBoost's boosted trees; numbers that are missing take a branch of their own."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Distributed, Keep, Saved, Shard
from tidemill.training.families.preparation import (
    batches_with_all_classes,
    estimators,
    prepare_for_workers,
    prepare_rows,
    with_all_classes,
    with_preparation,
)
from tidemill.training.families.search_spaces import any_of, between, log_between
from tidemill.training.model_spec import Family

__all__ = ["xgboost"]

_ROUNDS = 6
_TREES = 50
"""For each class; each round grows as many more."""
_MORE = 20
"""A model that goes on from an earlier one gets as many more (`benchmarks/warm_start.py`)."""
_FIXED = {"tree_method": "hist", "n_jobs": 1, "random_state": 0}
_EACH_ROUND = {**_FIXED, "n_estimators": _TREES, "seed_per_iteration": True}
"""Each tree draws rows and columns by its number: those after a checkpoint are as they would have been."""


def xgboost(task: TaskName) -> Family:
    """Return the family for a task.

    >>> xgboost("binary").rounds
    6
    """
    space = {
        "learning_rate": log_between(0.03, 0.2),
        "max_depth": any_of([3, 4, 6, 8]),
        "min_child_weight": log_between(1.0, 30.0),
        "reg_lambda": log_between(0.1, 10.0),
        "subsample": between(0.6, 1.0),
        "colsample_bytree": between(0.5, 1.0),
    }
    if task == "regression":
        space["objective"] = any_of(["reg:squarederror", "reg:absoluteerror"])
    together = Distributed("xgboost", partial(prepare_for_workers, task), partial(_fit_shard, task))
    steps = partial(_steps, task)
    fit, go_on = partial(estimators, steps), partial(_go_on, task)
    return Family("xgboost", space, fit, _ROUNDS, go_on, together, steps, lasting=("objective",))


def _steps(
    task: TaskName,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    saved: Saved | None,
) -> Iterator[tuple[Pipeline, Callable[[], bytes]]]:
    """Grow a boosted ensemble by a few trees a round, from rows that are quantised once."""
    from xgboost import Booster, train  # an optional package

    prepare, rows, classes = _prepared(task, features, labels)
    model, settings = _empty_estimator(params, classes)
    before = None if saved is None else Booster(model_file=bytearray(saved.state))
    for _ in range(0 if saved is None else saved.rounds, _ROUNDS):
        before = train(settings, rows, _TREES, xgb_model=before)
        yield with_preparation(prepare, _with_trees(model, before)), partial(_raw, before)


def _prepared(
    task: TaskName, features: pd.DataFrame, labels: "pd.Series[Any]"
) -> tuple[ColumnTransformer, Any, range]:
    """Return the preparation of a table, its rows as trees are grown of them, and the classes to be known."""
    from xgboost import QuantileDMatrix  # an optional package

    prepare, prepared = prepare_rows(task, features, labels, dense=False)
    classes, weights = range(0), None
    if task != "regression":
        classes = _numbers_to(labels.max())
        prepared, labels, weights = with_all_classes(prepared, labels, classes)
    return prepare, QuantileDMatrix(prepared, labels, weight=weights, nthread=1), classes


def _empty_estimator(params: Mapping[str, Any], classes: Sequence[int]) -> tuple[Any, dict[str, Any]]:
    """Return an estimator without trees, and the settings by which they are grown; no classes: numbers."""
    from xgboost import XGBClassifier, XGBRegressor  # an optional package

    model = (XGBClassifier if classes else XGBRegressor)(**params, **_EACH_ROUND)
    settings = model.get_xgb_params()
    if len(classes) > 2:  # as XGBClassifier sets them, when it sees all rows
        settings |= {"objective": "multi:softprob", "num_class": len(classes)}
    return model, settings


def _with_trees(empty: Any, booster: Any) -> Any:
    """Return an estimator as its own `fit` would leave it, with these trees."""
    model, given = clone(empty), empty.get_params()
    model.load_model(bytearray(_raw(booster)))
    model.get_booster().load_config(booster.save_config())
    return model.set_params(**{**given, "objective": model.objective})


def _go_on(
    task: TaskName,
    earlier: Pipeline,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
) -> Iterator[Pipeline]:
    """Grow more trees by other rows; text and numbers are prepared as before."""
    from xgboost import XGBClassifier, XGBRegressor  # an optional package

    prepare, before = earlier.named_steps["prepare"], earlier.named_steps["model"]
    kind = XGBRegressor if task == "regression" else XGBClassifier
    # Where a model is given, XGBoost does not begin with the seed but where its last training left off.
    model = kind(**params, **_FIXED, n_estimators=_MORE, seed_per_iteration=True)
    model.fit(prepare.transform(features), labels, xgb_model=before.get_booster())
    yield with_preparation(prepare, model)


def _fit_shard(
    task: TaskName, params: Mapping[str, Any], shard: Shard, rounds: int, saved: Saved | None, keep: Keep
) -> Any:
    """Grow an ensemble as `_steps` does, by gradients that the workers add up."""
    from xgboost import Booster, train  # an optional package

    classes = range(0) if task == "regression" else _numbers_to(max(shard.facts["classes"]))
    model, settings = _empty_estimator(params, classes)
    rows = _quantised(shard, classes)
    before = None if saved is None else Booster(model_file=bytearray(saved.state))
    for done in range(1 if saved is None else saved.rounds + 1, rounds + 1):
        before = train(settings, rows, _TREES, xgb_model=before)
        keep(done, partial(_raw, before))
    return _with_trees(model, before)


def _quantised(shard: Shard, classes: Iterable[int]) -> Any:
    """Return a shard's rows as trees are grown of them: a byte or so for each value, taken batch by batch."""
    from xgboost import DataIter, QuantileDMatrix  # an optional package

    class Batches(DataIter):  # type: ignore[misc]  # XGBoost may be missing
        def reset(self) -> None:
            self.rows = batches_with_all_classes(shard, classes)

        def next(self, input_data: Callable[..., None]) -> bool:
            for values, labels, weights in self.rows:
                input_data(data=values, label=labels, weight=weights)
                return True
            return False

    return QuantileDMatrix(Batches(), nthread=1)


def _raw(booster: Any) -> bytes:
    return bytes(booster.save_raw("ubj"))


def _numbers_to(last: float) -> range:
    """Return the classes that XGBoost wants to see: all numbers from 0 on."""
    return range(int(last) + 1)
