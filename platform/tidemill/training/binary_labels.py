"""Check the labels of binary classification: only 0 and 1 are valid."""

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.errors import DataError

__all__ = ["as_binary", "as_labels"]

_SHOWN = 5


def as_binary(labels: pl.Series, where: str) -> pl.Series:
    """Return labels as Int8: 0, 1, or null where there is none.

    Args:
        labels: numbers, text that reads as numbers, or booleans; NaN counts as null.
        where: named in errors, such as ``data/training_set.parquet, column late``.

    Raises:
        DataError: some are neither 0 nor 1; the message counts them by value.

    >>> as_binary(pl.Series([True, None, False]), "column late").to_list()
    [1, None, 0]
    >>> as_binary(pl.Series([0, 1, 2, 2, 3]), "column late")
    Traceback (most recent call last):
    tidemill.errors.DataError: column late: 3 of 5 labels are neither 0 nor 1: 2 (2 rows), 3 (1 row)
    """
    if labels.dtype.is_float():
        labels = labels.fill_nan(None)
    numbers = labels.cast(pl.Float64, strict=False)
    wrong = labels.filter(labels.is_not_null() & ~numbers.is_in([0.0, 1.0]).fill_null(False))
    if wrong.len():
        raise DataError(
            f"{where}: {wrong.len():,} of {labels.len():,} labels are neither 0 nor 1: {_counted(wrong)}",
            hint="a label must be 0 or 1, or true or false: change what makes them, or leave those rows out",
        )
    return numbers.cast(pl.Int8)


def as_labels(rows: pl.DataFrame, label: str) -> npt.NDArray[np.int8]:
    """Return the labels, shape (rows,), as 0 or 1.

    Raises:
        DataError: some are something else, or null, or there is no such column.
    """
    if label not in rows.columns:
        raise DataError(
            f"there is no column {label}: the columns are {', '.join(rows.columns)}",
            hint="dataset.label in params.yaml must name the column with the label",
        )
    labels = as_binary(rows[label], f"column {label}")
    if labels.null_count():
        raise DataError(
            f"column {label}: {labels.null_count():,} of {labels.len():,} labels are null",
            hint="leave out the rows that have no label",
        )
    return labels.to_numpy().astype(np.int8)


def _counted(wrong: pl.Series) -> str:
    counts = wrong.value_counts(sort=True).rows()
    words = [f"{value!r} ({count:,} {'row' if count == 1 else 'rows'})" for value, count in counts[:_SHOWN]]
    more = len(counts) - _SHOWN
    return ", ".join(words) + (f", and {more:,} more values" if more > 0 else "")
