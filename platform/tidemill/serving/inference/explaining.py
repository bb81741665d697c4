"""Explain predictions by the contribution of each feature: SHAP values of tree models, on request.

The original model is explained, not the compiled one; it is loaded at the first request for it. All of this
is slow beside a prediction, so it runs in a thread, for few rows.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.features.online.online_features import FeatureRow
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.serving.inference.calls import Failure, Refused
from tidemill.serving.inference.column_origins import MixedFeatures, origins

__all__ = ["Explainer", "TreeExplanation"]

Floats = npt.NDArray[np.float64]
Unit = Literal["log-odds", "probability"]

_LOG_ODDS = {
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
_MOST_ROWS = 100
_KEPT = 4
_CLOSE = 1e-3


@dataclass(frozen=True)
class TreeExplanation:
    """Explains one model of trees."""

    features: tuple[str, ...]
    unit: Unit
    """What the contributions and the base value add up to: the model's log-odds, or its probability."""
    estimator: Any
    trees: Any
    prepare: Any
    """What happens to the features before the trees see them; None for nothing."""
    places: Sequence[int]
    """The feature of each column that the trees see."""

    def explain(self, matrix: Floats) -> tuple[float, Floats]:
        """Return the base value, and the contributions, shape (rows, features).

        Args:
            matrix: shape (rows, features), NaN for "not known".

        Raises:
            Refused: they do not add up to what the model says.
        """
        frame = pd.DataFrame(matrix, columns=list(self.features))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            columns: Any = frame if self.prepare is None else self.prepare.transform(frame)
            columns = columns.toarray() if hasattr(columns, "toarray") else columns
            found = self.trees.shap_values(columns, check_additivity=False)
            said = np.asarray(self.estimator.predict_proba(frame)[:, 1], dtype=np.float64)
        values = np.asarray(found[-1] if isinstance(found, list) else found, dtype=np.float64)
        values = values[:, :, -1] if values.ndim == 3 else values
        base = float(np.ravel(self.trees.expected_value)[-1])
        summed = np.zeros((len(matrix), len(self.features)))
        np.add.at(summed.T, np.asarray(self.places), values.T)
        with np.errstate(divide="ignore"):
            margin = np.log(said / (1 - said)) if self.unit == "log-odds" else said
        sure = np.isinf(margin)  # a probability of exactly 0 or 1
        if not np.allclose((summed.sum(axis=1) + base)[~sure], margin[~sure], atol=_CLOSE, rtol=_CLOSE):
            raise _impossible("SHAP's values do not add up to what this model says")
        return base, summed


class Explainer:
    """Explains the predictions of the versions that serve; keeps the last few. Threads may share it."""

    def __init__(self, load: Callable[[str], Scorer]) -> None:
        """Take a function that loads a version as it was made."""
        self._load = load
        self._ready: OrderedDict[str, TreeExplanation] = OrderedDict()
        self._lock = threading.Lock()

    def explain(self, version: str, rows: Sequence[FeatureRow]) -> list[Mapping[str, Any]]:
        """Return an explanation of each row: its unit, the base value, and what each feature contributed.

        The contributions and the base value add up to the log-odds (or the probability) of label 1.

        Args:
            version: the one that answers.
            rows: features as served.

        Raises:
            Refused: there are too many rows, the model is none of trees, or the package SHAP is missing.
        """
        if len(rows) > _MOST_ROWS:
            raise Refused(
                Failure("unsupported", f"up to {_MOST_ROWS} rows can be explained at once, not {len(rows)}")
            )
        made = self._explanation(version)
        matrix = np.array([[row.values[name] for name in made.features] for row in rows], dtype=np.float64)
        base, values = made.explain(matrix)
        return [
            {
                "unit": made.unit,
                "base_value": base,
                "contributions": dict(zip(made.features, contributed, strict=True)),
            }
            for contributed in values.tolist()
        ]

    def _explanation(self, version: str) -> TreeExplanation:
        with self._lock:
            if version not in self._ready:
                self._ready[version] = _open(self._load(version))
                while len(self._ready) > _KEPT:
                    self._ready.popitem(last=False)
            self._ready.move_to_end(version)
            return self._ready[version]


def _open(scorer: Scorer) -> TreeExplanation:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap  # takes seconds: only requests for explanations wait for it
    except ImportError as error:
        raise Refused(
            Failure("unsupported", "explanations need SHAP: pip install 'tidemill[explain]'")
        ) from error
    prepare, model = None, scorer.estimator
    while hasattr(model, "steps"):
        if prepare is not None:
            raise _impossible("it is a pipeline in a pipeline")
        prepare, model = model[:-1] if len(model.steps) > 1 else None, model.steps[-1][1]
    kind = type(model).__name__
    if kind not in _LOG_ODDS | _PROBABILITY:
        raise _impossible(f"{kind if model is not None else 'a model made as ONNX'} is not a model of trees")
    places = list(range(len(scorer.features)))
    try:
        places = places if prepare is None else origins(prepare, places)
        trees = shap.TreeExplainer(model)
    except MixedFeatures as error:
        raise _impossible(f"its step {error}") from error
    except Exception as error:  # SHAP has no errors of its own
        raise _impossible(f"SHAP does not take this {kind}: {error}") from error
    unit: Unit = "log-odds" if kind in _LOG_ODDS else "probability"
    return TreeExplanation(scorer.features, unit, scorer.estimator, trees, prepare, places)


def _impossible(why: str) -> Refused:
    return Refused(Failure("unsupported", f"this prediction cannot be explained: {why}"))
