"""Features of many rows in a form that processes share without copies: numbers in a matrix, text as codes.

A list feature becomes a number for each element, in columns ``<name>.0``, ``<name>.1`` and so on.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

from tidemill.errors import TrainingError
from tidemill.plurals import counted

__all__ = [
    "FeatureTable",
    "as_features",
    "column_names",
    "element_names",
    "example_rows",
    "is_text",
    "lengths_of",
    "with_elements",
]


_SPREAD = 100
"""Rows, evenly spread, whose values are mixed to examples."""


@dataclass(frozen=True)
class FeatureTable:
    """Features by row; Ray keeps its arrays in shared memory.

    >>> rows = pl.DataFrame({"wind": [3, None], "origin": ["JFK", None]})
    >>> table = FeatureTable.of(rows, ("wind", "origin"))
    >>> table.frame().to_dict("list")
    {'wind': [3.0, nan], 'origin': ['JFK', None]}
    """

    features: tuple[str, ...]
    """The names of all columns, in order."""
    numbers: npt.NDArray[np.float64]
    """Those that are numbers, shape (rows, features), NaN where nothing is known."""
    codes: Mapping[str, npt.NDArray[np.int32]]
    """Those that are text: places in ``words``, -1 where nothing is known."""
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, rows: pl.DataFrame, features: Sequence[str]) -> "FeatureTable":
        """Return the features of rows as `training_rows.read_labelled` gives them."""
        rows, features = _without_lists(rows, features)
        codes: dict[str, npt.NDArray[np.int32]] = {}
        words: dict[str, tuple[str, ...]] = {}
        for name in features:
            if is_text(rows[name].dtype):
                known = rows[name].drop_nulls().unique().sort()
                places = pl.int_range(known.len(), dtype=pl.Int32, eager=True)
                found = rows[name].replace_strict(known, places, default=None, return_dtype=pl.Int32)
                codes[name], words[name] = found.fill_null(-1).to_numpy(), tuple(known.to_list())
        return cls(
            tuple(features), _matrix(rows, [name for name in features if name not in codes]), codes, words
        )

    def frame(self) -> pd.DataFrame:
        """Return a frame: float64 with NaN for numbers, objects with None for text."""
        numbers = [name for name in self.features if name not in self.codes]
        frame = pd.DataFrame(self.numbers, columns=numbers, copy=False)
        if not self.codes:
            return frame
        texts = {
            name: np.array([*self.words[name], None], dtype=object)[places]
            for name, places in self.codes.items()
        }
        return pd.concat([frame, pd.DataFrame(texts)], axis=1)[list(self.features)]


def as_features(
    rows: pl.DataFrame, features: Sequence[str], lists: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return (rows × columns): float64 with NaN for numbers and elements of lists, objects for text.

    Args:
        rows: as `training_rows.read_labelled` gives them, or as they are logged.
        features: names, in order.
        lists: those of logged rows that are lists, and the length of each; one of another length is unknown.

    >>> as_features(pl.DataFrame({"wind": [3, None], "late": [0, 1]}), ["wind"])["wind"].tolist()
    [3.0, nan]
    """
    arrays = [_as_array(rows[name], length) for name, length in (lists or {}).items()]
    return FeatureTable.of(rows.with_columns(arrays), features).frame()


def example_rows(
    rows: pl.DataFrame, features: Sequence[str], personal: Set[str] = frozenset()
) -> pd.DataFrame:
    """Return a few rows as `as_features` does that are no one's, with a value of each text, for MLflow.

    Each column has the values of other rows than the next. Those of personal features are means, or empty.

    >>> rows = pl.DataFrame({"note": [*[None] * 9, "rare"], "never": pl.Series([None] * 10, dtype=pl.String)})
    >>> example_rows(rows, ["note", "never"]).iloc[-1].tolist()
    ['rare', '']
    >>> rows = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0], "own": [1.0, 2.0, 6.0]})
    >>> example_rows(rows, ["a", "b", "own"], {"own"}).values.tolist()
    [[1.0, 3.0, 3.0], [2.0, 1.0, 3.0], [3.0, 2.0, 3.0]]
    """
    words = [name for name in features if is_text(rows.schema[name])]
    first = [rows[name].is_not_null().arg_max() or 0 for name in words]
    spread = range(0, rows.height, max(1, rows.height // _SPREAD))
    found = as_features(rows[list(dict.fromkeys([*spread, *first]))], features)
    mixed = {name: np.roll(found[name].to_numpy(), place) for place, name in enumerate(found.columns)}
    found = pd.DataFrame(mixed, columns=found.columns)
    shown = [int(found[name].notna().to_numpy().argmax()) for name in words]
    found = found.iloc[list(dict.fromkeys([*range(min(5, len(found))), *shown]))].reset_index(drop=True)
    hidden = [name for name in mixed if name in personal or name.rpartition(".")[0] in personal]
    means = {name: pd.Series(mixed[name]).mean() for name in hidden if name not in words}
    empty = {name: "" for name in words if name in hidden or found[name].isna().all()}
    return found.assign(**means, **empty)


def is_text(dtype: pl.DataType) -> bool:
    """Return whether a feature of this type is text."""
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def element_names(name: str, length: int) -> list[str]:
    """Return the names of the columns that hold the elements of a list.

    >>> element_names("embedding", 2)
    ['embedding.0', 'embedding.1']
    """
    return [f"{name}.{place}" for place in range(length)]


def column_names(features: Sequence[str], lists: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of a model's columns: features, and the elements of those that are lists.

    >>> column_names(["wind", "embedding"], {"embedding": 2})
    ('wind', 'embedding.0', 'embedding.1')
    """
    return tuple(
        column
        for name in features
        for column in (element_names(name, lists[name]) if name in lists else (name,))
    )


def with_elements(frame: pd.DataFrame, lists: Mapping[str, int]) -> pd.DataFrame:
    """Return a frame with a column for each element in place of each list, after all other columns.

    Raises:
        ValueError: a value is no list of numbers of its feature's length.

    >>> with_elements(pd.DataFrame({"e": [[1, 2], None]}), {"e": 2}).values.tolist()
    [[1.0, 2.0], [nan, nan]]
    """
    blocks = []
    for name, length in lists.items():
        block = np.full((len(frame), length), np.nan)
        for row, given in enumerate(frame[name]):
            if given is not None and np.ndim(given):
                block[row] = _elements(name, length, given)
        blocks.append(pd.DataFrame(block, columns=element_names(name, length), index=frame.index))
    return pd.concat([frame.drop(columns=list(lists)), *blocks], axis=1)


def _elements(name: str, length: int, given: Sequence[float]) -> Sequence[float]:
    if len(given) != length:
        raise ValueError(f"{name} has {counted(len(given), 'element')}, and the model takes {length}")
    return given


def lengths_of(schema: Mapping[str, pl.DataType], features: Sequence[str]) -> dict[str, int]:
    """Return the length of each feature that is a list: list feature → number of elements."""
    return {name: kind.size for name in features if isinstance(kind := schema[name], pl.Array)}


def _as_array(column: pl.Series, length: int) -> pl.Series:
    wanted = pl.Array(pl.Float64, length)
    if not isinstance(column.dtype, pl.List):  # none is known
        return pl.Series(column.name, [None] * len(column), wanted)
    fits = (column.list.len() == length).fill_null(False)
    return column.set(~fits, None).cast(wanted) if not fits.all() else column.cast(wanted)


def _without_lists(rows: pl.DataFrame, features: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """Return rows with a column for each element of a list, and the names of all columns."""
    if not any(isinstance(rows[name].dtype, pl.Array) for name in features):
        return rows, list(features)
    columns: list[pl.Series] = []
    for name in features:
        column = rows[name]
        if isinstance(column.dtype, pl.Array):
            parts = (column.arr.get(place) for place in range(column.dtype.size))
            columns += [
                part.alias(one)
                for one, part in zip(element_names(name, column.dtype.size), parts, strict=True)
            ]
        else:
            columns.append(column)
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TrainingError(
            f"the elements of a list have the name of another feature: {', '.join(twice[:3])}",
            hint="rename the other feature: elements are called <list>.0, <list>.1 and so on",
        )
    return pl.DataFrame(columns), names


def _matrix(rows: pl.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float64]:
    found = rows.select(rows[name].cast(pl.Float64).fill_null(float("nan")) for name in names)
    return np.ascontiguousarray(found.to_numpy()) if names else np.empty((rows.height, 0))
