"""Defines the model families: boosted trees, and a linear model as a baseline."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tidemill import Family, TrainingSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["spec"]

_TREES = 20
_ROUNDS = 5


def _boosting(
    params: Mapping[str, Any], features: "pd.DataFrame", labels: "pd.Series[int]"
) -> Iterator[HistGradientBoostingClassifier | Pipeline]:
    """Grow a boosted ensemble by a few trees a round; unknown values take a branch of their own."""
    empty = [name for name in features.columns if features[name].isna().all()]
    fill = ColumnTransformer(
        [("empty", SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True), empty)],
        remainder="passthrough",
    )
    filled = fill.fit_transform(features) if empty else features  # scikit-learn 1.9 fails on such columns
    model = HistGradientBoostingClassifier(**params, early_stopping=False, warm_start=True, random_state=0)
    for round_ in range(1, _ROUNDS + 1):
        model.set_params(max_iter=round_ * _TREES)
        model.fit(filled, labels)
        yield Pipeline([("fill", fill), ("model", model)]) if empty else model


def _linear(
    params: Mapping[str, Any], features: "pd.DataFrame", labels: "pd.Series[int]"
) -> Iterator[Pipeline]:
    """Pass over the rows once a round; unknown values become the median, and a column that says so."""
    prepare = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    prepared = prepare.fit_transform(features)
    model = SGDClassifier(**params, loss="log_loss", average=True, random_state=0)
    for _ in range(_ROUNDS):
        model.partial_fit(prepared, labels, classes=np.array([0, 1]))
        yield Pipeline([("prepare", prepare), ("model", model)])


spec = TrainingSpec(
    families=(
        Family(
            name="boosting",
            space={
                "learning_rate": tune.loguniform(0.04, 0.15),
                "max_leaf_nodes": tune.choice([15, 23, 31]),
                "min_samples_leaf": tune.choice([50, 100, 200, 400]),
                "l2_regularization": tune.loguniform(0.1, 10.0),
                "max_features": tune.uniform(0.3, 0.8),
            },
            fit=_boosting,
            rounds=_ROUNDS,
        ),
        Family(
            name="linear",
            space={
                "alpha": tune.loguniform(1e-5, 1e-2),
                "penalty": tune.choice(["l2", "elasticnet"]),
            },
            fit=_linear,
            rounds=_ROUNDS,
        ),
    ),
)
