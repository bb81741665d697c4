"""Read scikit-learn estimators: skops files, and pickles if the caller allows that they execute code."""

import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from tidemill.errors import DataError, ModelUnsafe, RegistryError, TrainingError
from tidemill.project.own_code import exits_as_errors
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.tasks.target_labels import class_text
from tidemill.tasks.task import Task
from tidemill.training.fitting.packaging import save_estimator, trusted_types
from tidemill.training.fitting.private_skops import load, types_in
from tidemill.training.fitting.trusted_types import untrusted

__all__ = ["about_estimator", "of_estimator", "read_pickle", "read_skops"]

_DAMAGED = (
    BadZipFile, zlib.error, EOFError, OSError, ImportError, ValueError, TypeError, KeyError, AttributeError,
)  # fmt: skip


def read_skops(file: Path, declared: Callable[[], Collection[str]]) -> ForeignModel:
    """Read a skops file.

    Args:
        file: its path.
        declared: gives the types that the project's training spec trusts; called only if that matters.

    Raises:
        ModelUnsafe: it holds types that are not trusted.
        RegistryError: it is damaged, or was written by other versions of its packages.
    """
    try:
        types = types_in(file=file)
        refused = untrusted(types) and untrusted(types, declared())
        if refused:
            raise ModelUnsafe(
                f"{file} holds types that are not trusted: {', '.join(refused)}",
                hint="name them in trusted_types of the project's TrainingSpec, if you do trust them",
            )
        estimator = load(file, trusted=types)
    except _DAMAGED as error:
        raise RegistryError(
            f"{file} is damaged or was written by other versions: skops cannot load it ({error})",
            hint="copy it again, or save it again by `skops.io.dump` with the installed versions of "
            "scikit-learn and skops",
        ) from error
    _require_predict(file, estimator)
    return of_estimator(estimator, declared)


def read_pickle(file: Path, declared: Callable[[], Collection[str]]) -> ForeignModel:
    """Read a pickle or joblib file, which can execute any code; what is served is saved without it.

    Raises:
        RegistryError: it cannot be loaded, or holds no estimator that can be saved safely.
    """
    import joblib

    try:
        with exits_as_errors():
            estimator = joblib.load(file)
    except Exception as error:  # a pickle can raise anything
        raise RegistryError(
            f"{file} cannot be loaded: {type(error).__name__}: {error}",
            hint="load it where it was made, and save it as skops: `skops.io.dump(model, 'model.skops')`",
        ) from error
    _require_predict(file, estimator)
    return of_estimator(estimator, declared, unsafe=True)


def _require_predict(file: Path, estimator: Any) -> None:
    if not hasattr(estimator, "predict"):
        raise RegistryError(
            f"{file} holds a {type(estimator).__name__}, which has no predict: it is not a model",
            hint="save the whole fitted estimator or pipeline, not its parts",
        )


def of_estimator(
    estimator: Any, declared: Callable[[], Collection[str]], unsafe: bool = False
) -> ForeignModel:
    """Return a fitted estimator as a model that will be served from the skops format.

    Raises:
        RegistryError: it cannot be saved in the skops format, or holds types that are not trusted.
    """
    try:
        types = trusted_types(estimator, declared())
    except TrainingError as error:
        raise ModelUnsafe(str(error), hint=error.hint) from error

    def save(folder: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        save_estimator(folder, estimator, task, example, types)

    return ForeignModel(save=save, trusted_types=types, unsafe=unsafe, **about_estimator(estimator))


def about_estimator(estimator: Any) -> dict[str, Any]:
    """Return what a fitted estimator tells about itself, as fields of `ForeignModel`."""
    classifier = hasattr(estimator, "classes_") or hasattr(estimator, "predict_proba")
    classes = getattr(estimator, "classes_", ())
    targets = len(classes) if isinstance(classes, list) and classes and np.ndim(classes[0]) else 0
    if targets:  # a list of classes for each: only a custom task takes such answers
        classes = ()
    return {
        "kind": f"scikit-learn {type(estimator).__name__}" + (f" of {targets} targets" if targets else ""),
        "answer": lambda rows, task: _answer(estimator, rows, task),
        "features": _names(estimator),
        "width": getattr(estimator, "n_features_in_", None),
        "classes": tuple(class_text(one) for one in np.ravel(np.asarray(classes)).tolist()),
        "task": "custom" if targets else _task(len(classes)) if classifier else "regression",
    }


def _task(classes: int) -> str | None:
    return {0: None, 2: "binary"}.get(classes, "multiclass")


def _answer(estimator: Any, rows: pd.DataFrame, task: Task) -> Any:
    if task.kind not in ("binary", "multiclass"):
        return estimator.predict(rows)
    if not hasattr(estimator, "predict_proba"):
        raise DataError(
            f"{type(estimator).__name__} has no predict_proba: it gives no probabilities",
            hint="wrap it into sklearn.calibration.CalibratedClassifierCV, and save that",
        )
    return estimator.predict_proba(rows)


def _names(estimator: Any) -> tuple[str, ...]:
    found: Sequence[str] | None = getattr(estimator, "feature_names_in_", None)
    return () if found is None else tuple(map(str, found))
