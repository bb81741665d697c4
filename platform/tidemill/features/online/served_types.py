"""Convert feature values of every type that the store holds to what models take and what is logged."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from feast import FeatureService
from feast.types import Array, Bool, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from tidemill.errors import FeatureError
from tidemill.features.encoding import microseconds
from tidemill.project.feature_columns import FeatureValue

__all__ = [
    "Convert",
    "as_list",
    "as_number",
    "converters",
    "is_infinite",
    "served_features",
    "truth_features",
]

Convert = Callable[[Any], FeatureValue]


def served_features(service: FeatureService) -> tuple[tuple[str, str], ...]:
    """Return view and name of each feature of a service, in its order.

    Raises:
        FeatureError: one has a type that no model takes, or two have the same name.
    """
    features = []
    for projection in service.feature_view_projections:
        for field in projection.features:
            if _converter(field.dtype) is None:
                raise FeatureError(
                    f"feature {field.name!r} of {projection.name_to_use()!r} is {field.dtype}: models take "
                    "numbers, truth values, text, moments and lists of numbers",
                    hint="encode it as one of these, for example in an on-demand view",
                )
            features.append((projection.name_to_use(), field.name))
    names = [name for _, name in features]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(
            f"service {service.name!r} has two features called {', '.join(twice)}",
            hint="names must differ: declare a second view whose source maps the fields to others",
        )
    return tuple(features)


def truth_features(service: FeatureService) -> frozenset[str]:
    """Return the features of a service that are truth values."""
    fields = [field for projection in service.feature_view_projections for field in projection.features]
    return frozenset(field.name for field in fields if field.dtype == Bool)


def converters(service: FeatureService) -> Mapping[str, Convert]:
    """Return for each feature of a service that is no plain number how its values are converted."""
    fields = [field for projection in service.feature_view_projections for field in projection.features]
    found = {field.name: _converter(field.dtype) for field in fields}
    return {name: convert for name, convert in found.items() if convert not in (None, as_number)}


def as_number(value: Any) -> float | None:
    """Return a number or a truth value as a float; NaN and infinity are nothing known, as in training.

    >>> as_number(True), as_number(float("nan")), as_number(float("inf"))
    (1.0, None, None)
    """
    if value is None:
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def is_infinite(value: Any) -> bool:
    """Return whether a value, or an element of it, is infinite.

    >>> is_infinite(float("-inf")), is_infinite([1.0, float("inf")]), is_infinite(None)
    (True, True, False)
    """
    if isinstance(value, str | bytes) or value is None:
        return False
    values = value if isinstance(value, Sequence) else [value]
    return any(isinstance(one, float) and math.isinf(one) for one in values)


def as_list(value: Sequence[Any] | None) -> tuple[float, ...] | None:
    """Return the elements of a list as floats, NaN for gaps and what is infinite; None if nothing is known.

    Raises:
        TypeError, ValueError: an element is no number.

    >>> as_list([1, 2.5, None])
    (1.0, 2.5, nan)
    """
    if value is None:
        return None
    found = tuple([math.nan if element is None else float(element) for element in value])
    if all(map(math.isfinite, found)):
        return found
    known = tuple([element if math.isfinite(element) else math.nan for element in found])
    return None if all(map(math.isnan, known)) else known


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r:.100} is not text")


def _seconds(value: Any) -> float | None:
    """Return a moment in whole seconds since 1970: the online store holds no smaller unit."""
    if value is None:
        return None
    return float(microseconds(value) // 1_000_000 if isinstance(value, datetime) else value)


def _converter(dtype: FeastType) -> Convert | None:
    if isinstance(dtype, Array):
        return as_list if dtype.base_type in (Bool, Float32, Float64, Int32, Int64) else None
    return _CONVERTERS.get(dtype)


_CONVERTERS: Mapping[Any, Convert] = {
    **dict.fromkeys((Bool, Float32, Float64, Int32, Int64), as_number),
    String: _text,
    UnixTimestamp: _seconds,
}
