"""Explain predictions by the contribution of each feature, on request: SHAP values of models of trees.

Networks, linear models and others are explained by asking them (`sampled_explanation`).

The original model is explained, not the compiled one; it is loaded at the first request for it. All of this
is slow beside a prediction, so it runs in a thread, for few rows.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tidemill.features.request_features import FeatureRow
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.inference.sampled_explanation import SampledExplanation, sampled
from tidemill.training.feature_table import column_names, with_elements

__all__ = ["Explainer", "TreeExplanation"]

Floats = npt.NDArray[np.float64]
Unit = Literal["log-odds", "probability", "score", "value"]

_LOG_ODDS = {
    "CatBoostClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LGBMClassifier",
    "XGBClassifier",
    "XGBRFClassifier",
}
_PROBABILITY = {
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "ExtraTreesClassifier",
    "RandomForestClassifier",
}
_VALUE = {
    "CatBoostRegressor",
    "DecisionTreeRegressor",
    "ExtraTreeRegressor",
    "ExtraTreesRegressor",
    "GradientBoostingRegressor",
    "HistGradientBoostingRegressor",
    "LGBMRegressor",
    "RandomForestRegressor",
    "XGBRFRegressor",
    "XGBRegressor",
}
_MOST_ROWS = 100
_KEPT = 4
_CLOSE = 1e-3


@dataclass(frozen=True)
class TreeExplanation:
    """Explains one model of trees."""

    features: tuple[str, ...]
    unit: Unit
    """What the contributions and the base value add up to: the model's log-odds, its probability, its value,
    or the score of the most probable of several classes, whose softmax is the probability."""
    estimator: Any
    trees: Any
    prepare: Any
    """What happens to the features before the trees see them; None for nothing."""
    places: Sequence[int]
    """The feature of each column that the trees see."""
    words: tuple[str, ...] = ()
    """The features that are text."""
    lists: Mapping[str, int] = field(default_factory=dict)
    """The features that are lists, whose contribution is the sum over their elements."""

    def explain(self, frame: pd.DataFrame) -> tuple[Floats, Floats]:
        """Return the base values, shape (rows,), and the contributions, shape (rows, features).

        Of several classes, the most probable one of each row is explained.

        Args:
            frame: the features; numbers with NaN, and text with None, for "not known".

        Raises:
            Refused: they do not add up to what the model says.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            columns: Any = frame if self.prepare is None else self.prepare.transform(frame)
            columns = columns.toarray() if hasattr(columns, "toarray") else columns
            found = self.trees.shap_values(columns, check_additivity=False)
            ask = self.estimator.predict if self.unit == "value" else self.estimator.predict_proba
            said = np.asarray(ask(frame), dtype=np.float64).reshape(len(frame), -1)
        values = np.asarray(np.stack(found, axis=-1) if isinstance(found, list) else found, np.float64)
        values = values.reshape(len(frame), len(self.places), -1)
        base = np.ravel(self.trees.expected_value)
        if said.shape[1] == 2:  # of two classes, the second
            said, values, base = said[:, 1:], values[:, :, -1:], base[-1:]
        summed = np.zeros((len(self.features), len(frame), values.shape[2]))
        np.add.at(summed, np.asarray(self.places), values.transpose(1, 0, 2))
        if not self._adds_up(summed.sum(axis=0) + base, said):
            raise _impossible("SHAP's values do not add up to what this model says")
        best = said.argmax(axis=1)
        return base[best], summed[:, np.arange(len(frame)), best].T

    def _adds_up(self, totals: Floats, said: Floats) -> bool:
        if self.unit == "score":
            powers = np.exp(totals - totals.max(axis=1, keepdims=True))
            totals = powers / powers.sum(axis=1, keepdims=True)
        if self.unit == "log-odds":
            with np.errstate(divide="ignore"):
                said = np.log(said / (1 - said))
        sure = np.isinf(said)  # the log-odds of a probability of exactly 0 or 1
        size = float(np.abs(said[~sure]).max(initial=0.0)) if self.unit == "value" else 1.0
        return np.allclose(totals[~sure], said[~sure], atol=_CLOSE * size, rtol=_CLOSE)


Explanation = TreeExplanation | SampledExplanation


class Explainer:
    """Explains the predictions of the versions that serve; keeps the last few. Threads may share it."""

    def __init__(self, load: Callable[[str], Scorer], reference: Callable[[str], pl.DataFrame]) -> None:
        """Take functions that load a version as it was made, and features of rows that it was fitted on."""
        self._load, self._reference = load, reference
        self._ready: OrderedDict[str, Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def explain(self, version: str, rows: Sequence[FeatureRow]) -> list[Mapping[str, Any]]:
        """Return an explanation of each row: its unit, the base value, and what each feature contributed.

        The contributions and the base value add up to the log-odds (or the probability) of label 1, to
        the value of a regression, or to the score (or probability) of the most probable of several classes.

        Args:
            version: the one that answers.
            rows: features as served.

        Raises:
            Refused: there are too many rows, the task is custom, or the package SHAP is missing.
        """
        if len(rows) > _MOST_ROWS:
            raise Refused(
                Failure("unsupported", f"up to {_MOST_ROWS} rows can be explained at once, not {len(rows)}")
            )
        made = self._explanation(version)
        base, values = made.explain(_frame(made, rows))
        return [
            {
                "unit": made.unit,
                "base_value": start,
                "contributions": dict(zip(made.features, contributed, strict=True)),
            }
            for start, contributed in zip(base.tolist(), values.tolist(), strict=True)
        ]

    def _explanation(self, version: str) -> Explanation:
        with self._lock:
            if version not in self._ready:
                scorer = self._load(version)
                if _has_trees(scorer):
                    self._ready[version] = _open(scorer)
                elif scorer.task.kind == "custom":
                    raise _impossible("answers of a custom task are no single number")
                else:
                    self._ready[version] = sampled(scorer, self._reference(version))
                while len(self._ready) > _KEPT:
                    self._ready.popitem(last=False)
            self._ready.move_to_end(version)
            return self._ready[version]


def _frame(made: Explanation, rows: Sequence[FeatureRow]) -> pd.DataFrame:
    """Return the features as the model was fitted to them: numbers with NaN, text as objects with None."""
    given = {name: [row.values[name] for row in rows] for name in made.features}
    objects = {*made.words, *made.lists}
    frame = pd.DataFrame(
        {
            name: pd.Series(values, dtype=object if name in objects else np.float64)
            for name, values in given.items()
        }
    )
    if not made.lists:
        return frame
    return with_elements(frame, made.lists)[list(column_names(made.features, made.lists))]


def _has_trees(scorer: Scorer) -> bool:
    """Return whether a model, behind its preparation, is one of trees."""
    model = scorer.estimator
    while hasattr(model, "steps"):
        model = model.steps[-1][1]
    is_linear = getattr(model, "booster", None) == "gblinear"
    return not is_linear and type(model).__name__ in _LOG_ODDS | _PROBABILITY | _VALUE


def _open(scorer: Scorer) -> TreeExplanation:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap  # takes seconds: only requests for explanations wait for it
    except ImportError as error:
        raise Refused(
            Failure("unsupported", "explanations need SHAP: pip install 'tidemill[explain]'")
        ) from error
    from tidemill.serving.inference.column_origins import (
        MixedFeatures,
        origins,  # scikit-learn takes seconds too, and compiled models do without it
    )

    if scorer.places:
        raise _impossible(
            "the outputs of this imported model are in another order than the project's classes"
        )
    prepare, model = None, scorer.estimator
    while hasattr(model, "steps"):
        if prepare is not None:
            raise _impossible("it is a pipeline in a pipeline")
        prepare, model = model[:-1] if len(model.steps) > 1 else None, model.steps[-1][1]
    kind = type(model).__name__
    places = [place for place, name in enumerate(scorer.features) for _ in range(scorer.lists.get(name, 1))]
    try:
        places = places if prepare is None else origins(prepare, places)
        trees = shap.TreeExplainer(model)
    except MixedFeatures as error:
        raise _impossible(f"its step {error}") from error
    except Exception as error:  # SHAP has no errors of its own
        raise _impossible(f"SHAP does not take this {kind}: {error}") from error
    several = len(getattr(model, "classes_", ())) > 2
    unit: Unit = "value" if kind in _VALUE else "probability"
    if kind in _LOG_ODDS:
        unit = "score" if several else "log-odds"
    return TreeExplanation(
        scorer.features, unit, scorer.estimator, trees, prepare, places, scorer.words, scorer.lists
    )


def _impossible(why: str) -> Refused:
    return Refused(Failure("unsupported", f"this prediction cannot be explained: {why}"))
