"""Learns online, by River: from one label after the other, each once, in the order in which they were known.

What is served is a scikit-learn pipeline with River's weights, so that it is saved without code and compiled.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import tune
from river import linear_model, optim, preprocessing
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tidemill import Family, TrainingSpec

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Learner", "spec"]


class Learner:
    """A model that a label makes better: a logistic regression whose steps do not get smaller."""

    def __init__(self, rate: float) -> None:
        self.scaler = preprocessing.StandardScaler()
        self.model = linear_model.LogisticRegression(optim.SGD(rate), intercept_lr=rate)

    def score(self, row: Mapping[str, float]) -> float:
        """Return the probability of the positive class, by what is learnt so far."""
        return float(self.model.predict_proba_one(self.scaler.transform_one(row))[True])

    def learn(self, row: Mapping[str, float], label: bool) -> None:
        """Learn from one row whose label became known."""
        self.scaler.learn_one(row)
        self.model.learn_one(self.scaler.transform_one(row), label)

    def as_pipeline(self, features: "pd.DataFrame", labels: "pd.Series[int]") -> Pipeline:
        """Return the same model as a scikit-learn pipeline; the rows tell it names and classes only."""
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
        scaler, model = pipeline[0], pipeline[1]
        scaler.mean_ = np.array([self.scaler.means[name] for name in features.columns])
        scaler.var_ = np.array([self.scaler.vars[name] for name in features.columns])
        scaler.scale_ = np.sqrt(np.where(scaler.var_ > 0, scaler.var_, 1.0))
        model.coef_ = np.array([[self.model.weights[name] for name in features.columns]])
        model.intercept_ = np.array([self.model.intercept])
        return pipeline


def _fit(params: Mapping[str, Any], features: "pd.DataFrame", labels: "pd.Series[int]") -> Iterator[Pipeline]:
    learner = Learner(**params)
    for row, label in zip(features.to_dict("records"), labels, strict=True):
        learner.learn(row, bool(label))
    yield learner.as_pipeline(features, labels)


spec = TrainingSpec((Family("online", {"rate": tune.loguniform(0.01, 0.3)}, _fit, rounds=1),))
