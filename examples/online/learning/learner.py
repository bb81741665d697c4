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

    @classmethod
    def of_pipeline(cls, rate: float, pipeline: Pipeline) -> "Learner":
        """Return the learner as it was when a version was made of it."""
        found, scaler, model = cls(rate), pipeline[0], pipeline[1]
        names = list(scaler.feature_names_in_)
        found.scaler.counts.update(dict.fromkeys(names, int(scaler.n_samples_seen_)))
        found.scaler.means.update(zip(names, scaler.mean_.tolist(), strict=True))
        found.scaler.vars.update(zip(names, scaler.var_.tolist(), strict=True))
        found.model.intercept = float(model.intercept_[0])
        for name, weight in zip(names, model.coef_[0].tolist(), strict=True):
            found.model._weights[name] = weight  # River has no other way to set it
        return found

    def as_pipeline(self, features: "pd.DataFrame", labels: "pd.Series[int]") -> Pipeline:
        """Return the same model as a scikit-learn pipeline; the rows tell it names and classes only."""
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels)
        scaler, model = pipeline[0], pipeline[1]
        scaler.mean_ = np.array([self.scaler.means[name] for name in features.columns])
        scaler.var_ = np.array([self.scaler.vars[name] for name in features.columns])
        scaler.n_samples_seen_ = self.scaler.counts[features.columns[0]]
        scaler.scale_ = np.sqrt(np.where(scaler.var_ > 0, scaler.var_, 1.0))
        model.coef_ = np.array([[self.model.weights[name] for name in features.columns]])
        model.intercept_ = np.array([self.model.intercept])
        return pipeline


def _fit(params: Mapping[str, Any], features: "pd.DataFrame", labels: "pd.Series[int]") -> Iterator[Pipeline]:
    yield _taught(Learner(**params), features, labels)


def _go_on(
    earlier: Pipeline, params: Mapping[str, Any], features: "pd.DataFrame", labels: "pd.Series[int]"
) -> Iterator[Pipeline]:
    """Learn from the labels that became known since a version, and keep what it has learnt."""
    yield _taught(Learner.of_pipeline(**params, pipeline=earlier), features, labels)


def _taught(learner: Learner, features: "pd.DataFrame", labels: "pd.Series[int]") -> Pipeline:
    for row, label in zip(features.to_dict("records"), labels, strict=True):
        learner.learn(row, bool(label))
    return learner.as_pipeline(features, labels)


spec = TrainingSpec((Family("online", {"rate": tune.loguniform(0.01, 0.3)}, _fit, 1, _go_on),))
