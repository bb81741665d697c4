"""Check the types in a saved model: loading one creates objects of trusted types only."""

import importlib
import inspect
from collections.abc import Collection

import numpy as np

__all__ = ["untrusted"]

_BOOSTERS = {
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
    "xgboost.sklearn.XGBRFClassifier",
    "xgboost.sklearn.XGBRFRegressor",
}
"""What a model of XGBoost, LightGBM or CatBoost consists of. Loading one reads trees, and calls nothing
else."""


def untrusted(types: Collection[str], declared: Collection[str] = ()) -> list[str]:
    """Return those of ``types`` that a model must not contain.

    Skops itself trusts the plain types of Python and most of scikit-learn. Beyond that, a model may hold
    classes (never functions) of scikit-learn, NumPy's types of numbers, the models of XGBoost,
    LightGBM and CatBoost, and what the project declares.

    Args:
        types: full names of what skops does not trust by itself (`skops.io.get_untrusted_types`).
        declared: the ``trusted_types`` of the project's training spec.

    >>> untrusted(["sklearn._loss.link.Interval", "os.system", "mine.Model"], declared=["mine.Model"])
    ['os.system']
    >>> untrusted(["numpy.dtype", "numpy.memmap", "numpy.save"])
    ['numpy.memmap', 'numpy.save']
    >>> untrusted(["xgboost.sklearn.XGBClassifier", "xgboost.callback.TrainingCallback"])
    ['xgboost.callback.TrainingCallback']
    """
    known = _BOOSTERS.union(declared)
    return sorted(name for name in types if name not in known and not _is_known_class(name))


def _is_known_class(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    package = module.partition(".")[0]
    if package not in ("numpy", "sklearn"):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    if not inspect.isclass(found) or found.__module__.partition(".")[0] != package:
        return False
    return package == "sklearn" or issubclass(found, np.dtype | np.generic)
