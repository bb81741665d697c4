"""Prepare any table for a model: pass numbers, or fill and scale them; encode text inside the pipeline."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from tidemill.errors import TrainingError
from tidemill.tasks.task_names import TaskName
from tidemill.training.distributed import Prepared, Shard
from tidemill.training.model_spec import Steps

__all__ = [
    "FEW",
    "batches_with_all_classes",
    "estimators",
    "fit_each",
    "prepare_for_workers",
    "prepare_rows",
    "with_all_classes",
    "with_preparation",
]

FEW = 12
"""Text with at most this many categories becomes one column for each."""
_RARE = 20
"""Categories with fewer rows share a column, which unknown ones take as well."""
_NEXT_TO_NOTHING = 1e-6


def prepare_rows(
    task: TaskName, features: pd.DataFrame, labels: "pd.Series[Any]", *, dense: bool
) -> tuple[ColumnTransformer, Any]:
    """Fit the preparation of a table; return it with the prepared rows, shape (rows, columns).

    Text with few categories becomes a column for each; where some are rare, they share one with all that are
    unknown, else an unknown one has zero in all of them. Text with many becomes the mean of the target (of
    each class) by category, found on other rows than those that it is used for; unknown categories have the
    mean of all rows. Text that is missing is a category. A feature without any value is left out.

    Args:
        task: what is predicted.
        features: numbers as floats with NaN, text as objects with None.
        labels: of the rows.
        dense: fill and scale numbers, for models that compare sizes or take no NaN; else they pass.

    Raises:
        TrainingError: no feature has any value.
    """
    numbers, few, many = _by_kind(features)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(min_frequency=_RARE, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts = [
        ("numbers", scaled if dense else "passthrough", numbers),
        ("few", one_hot, few),
        ("many", _target_encoder(task, labels, dense), many),
    ]
    made = ColumnTransformer([part for part in parts if part[2]], sparse_threshold=0)
    if not made.transformers:
        raise TrainingError(
            "no feature has a value in any training row", hint="check the stages that write the training set"
        )
    with warnings.catch_warnings():
        # Scikit-learn 1.9 announces another way to set the seed, which 1.8 does not have.
        warnings.filterwarnings("ignore", "`TargetEncoder.shuffle`", FutureWarning)
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return made, made.fit_transform(features, labels)


def fit_each(
    task: TaskName,
    features: pd.DataFrame,
    labels: "pd.Series[Any]",
    models: Iterable[Any],
    state: Callable[[Any], bytes] = lambda _: b"",
) -> Iterator[tuple[Pipeline, Callable[[], bytes]]]:
    """Yield each model, fitted to the table, with the preparation, and its state; numbers may be NaN.

    Args:
        task: what is predicted.
        features: as for `prepare_rows`.
        labels: of the rows.
        models: each is fitted before the next is taken.
        state: of a fitted model, for what goes on from it; without one each model begins anew.
    """
    prepare, prepared = prepare_rows(task, features, labels, dense=False)
    for model in models:
        yield with_preparation(prepare, model.fit(prepared, labels)), partial(state, model)


def estimators(
    steps: Steps, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Iterator[Any]:
    """Yield the estimators of a family's steps without their states: as `Fit` does."""
    for estimator, _ in steps(params, features, labels, None):
        yield estimator


def prepare_for_workers(
    task: TaskName, params: Mapping[str, Any], features: pd.DataFrame, labels: "pd.Series[Any]"
) -> Prepared:
    """Prepare all rows for boosted trees that several workers grow; the facts have the ``classes``."""
    prepare, prepared = prepare_rows(task, features, labels, dense=False)
    facts = {} if task == "regression" else {"classes": sorted(set(labels.tolist()))}
    return Prepared(np.asarray(prepared), labels.to_numpy(), partial(with_preparation, prepare), facts)


def batches_with_all_classes(shard: Shard, classes: Iterable[int]) -> Iterator[tuple[Any, Any, Any]]:
    """Yield rows, labels and weights of a shard in which each class has a row, as `with_all_classes` does."""
    missing = sorted(set(classes) - set(np.unique(shard.target).tolist()))
    first: Any = None
    for values, labels in shard.batches():
        first = np.array(values[:1]) if first is None else first
        yield values, labels, np.ones(len(values)) if missing else None
    if missing:
        weights = np.full(len(missing), _NEXT_TO_NOTHING)
        yield np.repeat(first, len(missing), axis=0), np.array(missing), weights


def with_all_classes(
    prepared: npt.NDArray[Any], labels: "pd.Series[Any]", classes: Iterable[int]
) -> tuple[Any, "pd.Series[Any]", Any]:
    """Add a row that weighs nothing for each class that has none; return rows, labels and weights.

    >>> rows, labels, weights = with_all_classes(np.array([[7.0], [8.0]]), pd.Series([0, 2]), range(3))
    >>> rows.tolist(), labels.tolist(), weights.tolist()
    ([[7.0], [8.0], [7.0]], [0, 2, 1], [1.0, 1.0, 1e-06])
    """
    missing = sorted(set(classes) - set(labels.tolist()))
    if not missing:
        return prepared, labels, None
    rows = np.concatenate([prepared, np.repeat(prepared[:1], len(missing), axis=0)])
    weights = np.concatenate([np.ones(len(prepared)), np.full(len(missing), _NEXT_TO_NOTHING)])
    return rows, pd.concat([labels, pd.Series(missing, dtype=labels.dtype)]), weights


def with_preparation(prepare: ColumnTransformer, model: Any) -> Pipeline:
    """Return both as one model, which takes the features as they are."""
    return Pipeline([("prepare", prepare), ("model", model)])


def _by_kind(features: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Return the columns with numbers, text of few categories, and text of many; without the empty ones."""
    known = [name for name in features.columns if features[name].notna().any()]
    text = [name for name in known if features[name].dtype == object]
    few = [name for name in text if features[name].nunique(dropna=False) <= FEW]
    return _without(known, text), few, _without(text, few)


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _target_encoder(task: TaskName, labels: "pd.Series[Any]", dense: bool) -> Any:
    classes = "binary" if labels.nunique() == 2 else "multiclass"
    kind = "continuous" if task == "regression" else classes
    encoder = TargetEncoder(target_type=kind, random_state=0)
    return make_pipeline(encoder, StandardScaler()) if dense else encoder
