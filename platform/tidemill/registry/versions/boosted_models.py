"""Load models of XGBoost and LightGBM from their own file formats, which hold nothing but trees."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import RegistryError
from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.tasks.task_names import TaskName

__all__ = ["BOOSTERS", "fitting_task", "read_boosted"]

BOOSTERS = {
    "xgboost.core.Booster": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBClassifier": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBRegressor": ("xgboost", "XGBRegressor"),
    "xgboost.sklearn.XGBRFClassifier": ("xgboost", "XGBRFClassifier"),
    "xgboost.sklearn.XGBRFRegressor": ("xgboost", "XGBRFRegressor"),
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


def read_boosted(folder: Path, version: str, given: ModelSignature, flavor: Mapping[str, Any]) -> Scorer:
    """Load a model that MLflow keeps in its booster's own format.

    Raises:
        RegistryError: the package or the file is missing, or the model answers for another task.
    """
    package, name = BOOSTERS[flavor["model_class"]]
    file = str(folder / Path(flavor["data"]).name)
    if name == "XGBClassifier" and given.task.kind == "regression":
        name = "XGBRegressor"
    try:
        made = getattr(importlib.import_module(package), name)
        model = made(model_file=file) if name == "Booster" else made()
        if name != "Booster":
            model.load_model(file)
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
    if fitting_task(objective) != given.task.kind:
        raise RegistryError(
            f"version {version} was trained for {objective!r}: it answers for no {given.task.kind} task",
            hint="train it for binary:logistic, multi:softprob or a regression (XGBoost), or for binary, "
            "multiclass or a regression (LightGBM), as project.task says",
        )
    if given.words:
        raise RegistryError(
            f"version {version} is of {package}, and its signature has text: it takes numbers only",
            hint="log it with a signature of numbers, one column a feature",
        )
    ask = model.predict if name == "Booster" or given.task.kind == "regression" else model.predict_proba

    def score(matrix: Matrix) -> Scores:
        return given.answers(ask(matrix))

    return Scorer(version, given.features, score, "native", None, model, task=given.task, places=given.places)
