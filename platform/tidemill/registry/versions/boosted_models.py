"""Load models of XGBoost and LightGBM from their own file formats, which hold nothing but trees."""

import importlib
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tidemill.errors import RegistryError
from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.tasks.task_names import TaskName

__all__ = ["BOOSTERS", "answer_by_all_rounds", "fitting_task", "has_categories", "read_boosted"]

BOOSTERS = {
    "xgboost.core.Booster": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBClassifier": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBRegressor": ("xgboost", "XGBRegressor"),
    "xgboost.sklearn.XGBRFClassifier": ("xgboost", "XGBRFClassifier"),
    "xgboost.sklearn.XGBRFRegressor": ("xgboost", "XGBRFRegressor"),
    "xgboost.sklearn.XGBRanker": ("xgboost", "XGBRanker"),
    "lightgbm.basic.Booster": ("lightgbm", "Booster"),
}
"""Package and class that loads a model, by the class that MLflow's description names."""


def fitting_task(objective: str) -> TaskName | None:
    """Return the task that a model of this objective answers for; None if Tidemill has no such task.

    >>> [fitting_task(name) for name in ("binary:logistic", "multi:softmax", "regression_l1")]
    ['binary', None, 'regression']
    """
    if objective.startswith(("binary", "reg:logistic", "cross_entropy", "xentropy")):
        return None if objective in ("binary:logitraw", "binary:hinge") else "binary"
    if objective.startswith(("multi:softprob", "multiclass")):
        return "multiclass"
    values = (
        "reg:",
        "count:",
        "regression",
        "huber",
        "fair",
        "poisson",
        "quantile",
        "mape",
        "gamma",
        "tweedie",
    )
    return "regression" if objective.startswith(values) else None


def answer_by_all_rounds(booster: Any) -> None:
    """Make XGBoost's estimators answer by all rounds of a booster, as its own ``predict`` does.

    They take the rounds up to the best one after early stopping where the booster's attributes tell it.
    """
    booster.set_attr(best_iteration=None, best_score=None)


def has_categories(booster: Any) -> bool:
    """Return whether a booster was fitted on pandas categories: it takes their codes, not their values."""
    if hasattr(booster, "pandas_categorical"):  # LightGBM's
        return any(booster.pandas_categorical or ())
    described = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    described = described.get("gbtree", described)
    return bool(described.get("model", {}).get("cats", {}).get("enc"))


def _asked_in_turn(ask: Callable[[Matrix], Any]) -> Callable[[Matrix], Any]:
    """Return a function that threads may call, as they may not call XGBoost's linear boosters."""
    lock = threading.Lock()

    def asked(matrix: Matrix) -> Any:
        with lock:
            return ask(matrix)

    return asked


def _without_class(file: str) -> bytearray:
    """Return a booster of XGBoost without the kind of estimator that saved it, which alone could load it."""
    booster = importlib.import_module("xgboost").Booster(model_file=file)
    booster.set_attr(scikit_learn=None)
    return bytearray(booster.save_raw())


def read_boosted(folder: Path, version: str, given: ModelSignature, flavor: Mapping[str, Any]) -> Scorer:
    """Load a model that MLflow keeps in its booster's own format.

    Raises:
        RegistryError: the package or the file is missing, or the model answers for another task.
    """
    package, name = BOOSTERS[flavor["model_class"]]
    file = str(folder / Path(flavor["data"]).name)
    if name == "XGBClassifier" and given.task.kind == "regression":
        name = "XGBRegressor"
    if package == "xgboost" and given.task.kind == "custom":  # whose ``predict`` is the booster's own
        name = "XGBRegressor"
    try:
        made = getattr(importlib.import_module(package), name)
        model = made(model_file=file) if name == "Booster" else made()
        if name != "Booster":
            model.load_model(_without_class(file) if given.task.kind == "custom" else file)
        if flavor["model_class"] == "xgboost.core.Booster":
            answer_by_all_rounds(model.get_booster())
        objective = str(getattr(model, "objective", None) or model.params.get("objective", "binary"))
    except ImportError as error:
        raise RegistryError(
            f"version {version} needs the package {package}", hint=f"pip install 'tidemill[{package}]'"
        ) from error
    except Exception as error:  # each package has errors of its own
        raise RegistryError(
            f"version {version} cannot be loaded from {file}: {error}",
            hint="restore the file, or register the version again",
        ) from error
    if given.task.kind not in ("custom", fitting_task(objective)):
        raise RegistryError(
            f"version {version} was trained for {objective!r}: it answers for no {given.task.kind} task",
            hint="train it for binary:logistic, multi:softprob or a regression (XGBoost), or for binary, "
            "multiclass or a regression (LightGBM), as project.task says",
        )
    if has_categories(model if name == "Booster" else model.get_booster()):
        raise RegistryError(
            f"version {version} was fitted on pandas categories, of which it takes codes: rows have values",
            hint="encode them in a scikit-learn pipeline that ends with this model, and log that as skops",
        )
    if given.words:
        raise RegistryError(
            f"version {version} is of {package}, and its signature has text: it takes numbers only",
            hint="log it with a signature of numbers, one column a feature",
        )
    by_value = name == "Booster" or given.task.kind in ("regression", "custom")
    ask = model.predict if by_value else model.predict_proba
    if getattr(model, "booster", None) == "gblinear":
        ask = _asked_in_turn(partial(ask, validate_features=False))  # the matrix has no names

    def score(matrix: Matrix) -> Scores:
        return given.answers(ask(matrix))

    return Scorer(version, given.features, score, "native", None, model, task=given.task, places=given.places)
