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


_NUMPY_FUNCTIONS = {
    "abs", "absolute", "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "around", "array",
    "asarray", "average", "clip", "column_stack", "concatenate", "cumprod", "cumsum", "diff", "digitize",
    "expand_dims", "flip", "hstack", "interp", "isin", "max", "mean", "median", "min", "nan_to_num",
    "nanmax", "nanmean", "nanmedian", "nanmin", "nanstd", "nansum", "percentile", "prod", "quantile",
    "ravel", "real", "round", "sort", "squeeze", "stack", "std", "sum", "transpose", "var", "vstack",
    "where",
}  # fmt: skip
"""Those of NumPy's functions that calculate with what they are given: they read no file and call nothing."""
_PURE_PACKAGES = ("sklearn.metrics", "sklearn.feature_selection")
"""The public functions of these packages calculate, too."""
_PARTIAL = "functools.partial"
"""Skops looks at the function in it on its own."""


def untrusted(types: Collection[str], declared: Collection[str] = ()) -> list[str]:
    """Return those of ``types`` that a model must not contain.

    Skops itself trusts the plain types of Python and most of scikit-learn. Beyond that, a model may hold
    classes of scikit-learn, its metrics and scores of features, NumPy's types of numbers and those functions
    of NumPy that only calculate, the models of XGBoost, LightGBM and CatBoost, and what the project declares.

    Args:
        types: full names of what skops does not trust by itself (`skops.io.get_untrusted_types`).
        declared: the ``trusted_types`` of the project's training spec.

    >>> untrusted(["sklearn._loss.link.Interval", "os.system", "mine.Model"], declared=["mine.Model"])
    ['os.system']
    >>> untrusted(["numpy.dtype", "numpy.memmap", "numpy.save"])
    ['numpy.memmap', 'numpy.save']
    >>> untrusted(["xgboost.sklearn.XGBClassifier", "xgboost.callback.TrainingCallback"])
    ['xgboost.callback.TrainingCallback']
    >>> untrusted(["numpy.clip", "sklearn.metrics._classification.f1_score", "sklearn.datasets.load_files"])
    ['sklearn.datasets.load_files']
    """
    known = _BOOSTERS.union(declared, {_PARTIAL})
    return sorted(
        name
        for name in types
        if name not in known and not _is_known_class(name) and not _is_known_function(name)
    )


def _is_known_function(name: str) -> bool:
    """Return whether a name is that of a public function that only calculates."""
    module, _, attribute = name.rpartition(".")
    if module == "numpy":
        return attribute in _NUMPY_FUNCTIONS
    package = next((one for one in _PURE_PACKAGES if f"{module}.".startswith(f"{one}.")), None)
    if package is None or attribute not in importlib.import_module(package).__all__:
        return False
    function = getattr(importlib.import_module(package), attribute)
    return inspect.isfunction(function) and function.__module__ == module


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
