"""Read the features that come with a request, as columns of numbers, of text and of lists."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tidemill.serving.inference.calls import GivenFeatures
from tidemill.serving.protocols.json_bodies import malformed, type_given

__all__ = ["Column", "Features", "arranged", "feature_values", "without_nan"]

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]
_LARGEST = float(np.finfo(np.float32).max)


class Features(NamedTuple):
    """The features that may be given instead of fields."""

    service: tuple[str, ...]
    """All of the feature service, in its order."""
    needed: tuple[str, ...]
    """Those that the model reads; the others may be left out."""
    words: tuple[str, ...] = ()
    """Those of ``needed`` that are text."""
    lists: Mapping[str, int] = {}
    """Those of ``needed`` that are lists, and the length of each."""
    truths: frozenset[str] = frozenset()
    """Those of the service that are truth values."""
    requested: bool = False
    """Whether requests bring all of them, by fields of the same names."""
    gaps: Mapping[str, Callable[[object], object]] = {}
    """What makes None of words such as N/A, by the text features in which they are gaps."""


def feature_values(name: str, column: Column, features: Features) -> npt.NDArray[Any]:
    """Return the values of one feature: float64 with NaN, or objects with None for text and lists.

    Raises:
        Refused: a value is of another type.
    """
    if name in features.lists:
        return _lists(name, column, features.lists[name])
    if name in features.words:
        return _texts(name, column, features.gaps.get(name))
    return _numbers(name, column, name in features.truths)


def without_nan(values: Sequence[Any]) -> list[Any] | None:
    """Return a list as JSON would bring it, with None for NaN; None if nothing in it is known.

    >>> without_nan([1.0, float("nan")]), without_nan([None, float("nan")])
    ([1.0, None], None)
    """
    found = [None if value != value else value for value in values]
    return None if all(value is None for value in found) else found


def _texts(name: str, column: Column, without_gap: Callable[[object], object] | None) -> npt.NDArray[Any]:
    values = column.tolist() if isinstance(column, np.ndarray) else column
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise malformed(
                f"row {row}, {name}: Input should be a valid string, and {type_given(value)} was given"
            )
    found = np.empty(len(values), dtype=object)
    found[:] = values if without_gap is None else list(map(without_gap, values))
    return found


def _lists(name: str, column: Column, length: int) -> npt.NDArray[Any]:
    found = np.empty(len(column), dtype=object)
    for row, value in enumerate(column):
        if value is None or (isinstance(value, float) and value != value):
            continue
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != length:
            given = f"a list of {len(value)}" if isinstance(value, list | tuple) else type_given(value)
            raise malformed(
                f"row {row}, {name}: Input should be a list of {length} numbers, and {given} was given"
            )
        numbers = _numbers(f"{name} of row {row}", value)
        large = np.flatnonzero(np.abs(numbers) > _LARGEST)
        if len(large):
            raise malformed(f"row {row}, {name}: element {large[0]} does not lie within ±{_LARGEST:.4g}")
        if not np.isnan(numbers).all():
            found[row] = tuple(numbers.tolist())
    return found


def _numbers(name: str, column: Column, truths: bool = False) -> npt.NDArray[np.float64]:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64)
    for row, value in enumerate(column):
        if value is not None and (not isinstance(value, int | float) or (type(value) is bool and not truths)):
            raise malformed(
                f"row {row}, {name}: Input should be a valid number, and {type_given(value)} was given"
            )
    try:
        return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
    except OverflowError:
        raise malformed(f"{name}: an integer is too large for a feature") from None


def arranged(columns: Mapping[str, npt.NDArray[Any]], features: Features, count: int) -> GivenFeatures:
    """Return the features in the order of the service; those that were left out are not known.

    Raises:
        Refused: a number is infinite, or so large that float32 cannot hold it.
    """
    kind = object if features.words or features.lists else np.float64
    matrix: GivenFeatures = np.full((count, len(features.service)), np.nan, dtype=kind)
    for place, name in enumerate(features.service):
        column = columns.get(name)
        if column is None:
            continue
        if name in features.words or name in features.lists:
            matrix[:, place] = column
            continue
        # What float32 cannot hold becomes infinite in most engines, and some of them fail on that.
        large = np.flatnonzero(np.abs(column) > _LARGEST)
        if len(large):
            raise malformed(f"row {large[0]}, {name}: Input should lie within ±{_LARGEST:.4g}")
        matrix[:, place] = column
    return matrix
