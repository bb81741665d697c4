"""Says which group of rows each row of the hold-out belongs to."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import DataError

__all__ = ["group_names"]

_MOST = 100
_MISSING = "(missing)"


def group_names(values: pl.Series, edges: Sequence[float] = ()) -> npt.NDArray[Any]:
    """Return the group of each row as text, shape (rows,).

    Args:
        values: a column.
        edges: of a column of numbers: where groups end, rising.

    Raises:
        DataError: the values are lists, or text with edges, or have more than 100 groups.

    >>> group_names(pl.Series("age", [17.0, 18.0, 70.0, None]), [18, 65]).tolist()
    ['below 18', '18 to 65', '65 and more', '(missing)']
    """
    if values.dtype.is_nested():
        raise DataError(
            f"column {values.name} holds lists: rows cannot be grouped by it", hint="name another column"
        )
    if not edges:
        if values.dtype.is_float():
            values = values.fill_nan(None)
            if (values.drop_nulls() % 1 == 0).all():
                values = values.cast(pl.Int64)  # 7, not 7.0
        names = values.cast(pl.String).fill_null(_MISSING)
        if (many := names.n_unique()) > _MOST:
            raise DataError(
                f"column {values.name} has {many:,} values, at most {_MOST} groups are compared",
                hint="`check: groups` takes `edges` for numbers; or name a column with fewer values",
            )
        return names.to_numpy()
    if not values.dtype.is_numeric():
        raise DataError(f"column {values.name} is {values.dtype}: edges divide numbers", hint="drop `edges`")
    between = (f"{low:g} to {high:g}" for low, high in pairwise(edges))
    known = np.asarray([f"below {edges[0]:g}", *between, f"{edges[-1]:g} and more", _MISSING], dtype=object)
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    places = np.searchsorted(np.asarray(edges), numbers, side="right")
    found: npt.NDArray[Any] = known[np.where(np.isnan(numbers), len(known) - 1, places)]
    return found
