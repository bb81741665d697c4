"""Features of many rows in a form that processes share without copies: numbers in a matrix, text as codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl

__all__ = ["FeatureTable", "as_features", "is_text"]


@dataclass(frozen=True)
class FeatureTable:
    """Features by row; Ray keeps its arrays in shared memory.

    >>> rows = pl.DataFrame({"wind": [3, None], "origin": ["JFK", None]})
    >>> table = FeatureTable.of(rows, ("wind", "origin"))
    >>> table.frame().to_dict("list")
    {'wind': [3.0, nan], 'origin': ['JFK', None]}
    """

    features: tuple[str, ...]
    """All names, in order."""
    numbers: npt.NDArray[np.float64]
    """Those that are numbers, shape (rows, features), NaN where nothing is known."""
    codes: Mapping[str, npt.NDArray[np.int32]]
    """Those that are text: places in ``words``, -1 where nothing is known."""
    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, rows: pl.DataFrame, features: Sequence[str]) -> "FeatureTable":
        """Return the features of rows as `training_rows.read_labelled` gives them."""
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


def as_features(rows: pl.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return (rows × features): float64 with NaN for numbers, objects with None for text.

    >>> as_features(pl.DataFrame({"wind": [3, None], "late": [0, 1]}), ["wind"])["wind"].tolist()
    [3.0, nan]
    """
    return FeatureTable.of(rows, features).frame()


def is_text(dtype: pl.DataType) -> bool:
    """Return whether a feature of this type is text."""
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def _matrix(rows: pl.DataFrame, names: Sequence[str]) -> npt.NDArray[np.float64]:
    found = rows.select(rows[name].cast(pl.Float64).fill_null(float("nan")) for name in names)
    return np.ascontiguousarray(found.to_numpy()) if names else np.empty((rows.height, 0))
