"""Trace each column of a prepared table to its feature, so that contributions can be summed by feature."""

from typing import Any

from sklearn.base import OneToOneFeatureMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, TargetEncoder

from tidemill.training.compiling.private_scikit import column_indices, one_hot_widths

__all__ = ["MixedFeatures", "origins"]


class MixedFeatures(Exception):
    """A step that mixes features, so that its columns belong to none of them."""


def origins(step: Any, given: list[int]) -> list[int]:
    """Return for each column that a fitted step makes the feature it comes from.

    Args:
        step: a transformer of scikit-learn, ``"passthrough"``, ``"drop"`` or None.
        given: the feature of each column that it is given.

    Raises:
        MixedFeatures: a column is made of several features.

    >>> from sklearn.preprocessing import StandardScaler
    >>> encoder = OneHotEncoder().fit([["JFK", 1], ["EWR", 1], ["LGA", 2]])
    >>> origins(encoder, [0, 1])
    [0, 0, 0, 1, 1]
    """
    if step is None or step == "passthrough":
        return given
    if isinstance(step, str):  # drop
        return []
    match step:
        case Pipeline():
            for _, one in step.steps:
                given = origins(one, given)
            return given
        case ColumnTransformer():
            made = []
            for name, one, _ in step.transformers_:
                if indices := column_indices(step, name):
                    made += origins(one, [given[index] for index in indices])
            return made
        case FeatureUnion():
            return [place for _, one in step.transformer_list for place in origins(one, given)]
        case OneHotEncoder():
            return [place for place, n in zip(given, one_hot_widths(step), strict=True) for _ in range(n)]
        case SimpleImputer():
            return _of_imputer(step, given)
        case TargetEncoder() if step.target_type_ == "multiclass":  # a column for each class
            return [place for place in given for _ in step.classes_]
        case FunctionTransformer() if step.func is None:
            return given
        case OneToOneFeatureMixin():
            return given
    if hasattr(step, "get_support"):
        return [given[int(index)] for index in step.get_support(indices=True)]
    raise MixedFeatures(f"{type(step).__name__} mixes features")


def _of_imputer(step: SimpleImputer, given: list[int]) -> list[int]:
    kept = [
        place
        for place, fill in zip(given, step.statistics_, strict=True)
        if step.keep_empty_features or fill == fill
    ]
    if step.add_indicator:
        kept += [given[int(index)] for index in step.indicator_.features_]
    return kept
