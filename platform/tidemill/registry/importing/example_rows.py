"""Read the rows that a caller gives as examples, with the types of the project's training set."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.profiling.source_tables import open_source
from tidemill.errors import DataError, UsageError
from tidemill.training.feature_table import as_features, is_text
from tidemill.training.training_rows import typed_feature

__all__ = ["read_examples", "typed_examples"]

_MOST = 2000


def read_examples(address: Path, scratch: Path) -> pl.DataFrame:
    """Return the first rows of a table.

    Raises:
        UsageError: there is no such file.
        DataError: it cannot be read, or has no row.
    """
    if not address.exists():
        raise UsageError(f"--examples {address}: there is no such file", hint="name a parquet or CSV file")
    try:
        found = open_source(str(address.absolute()), scratch, scratch).head(_MOST).collect()
    except (OSError, PolarsError) as error:
        raise DataError(
            f"{address} cannot be read: {error}", hint="give a parquet, CSV or JSON lines file"
        ) from error
    if found.is_empty():
        raise DataError(f"{address} has no row", hint="give some rows that the model can answer")
    return found


def typed_examples(rows: pl.DataFrame, features: Sequence[str], like: pl.DataFrame) -> pd.DataFrame:
    """Return the features of example rows, with the types that they have in the training set.

    Args:
        rows: with the features among their columns.
        features: their names, in order.
        like: rows of the training set.

    Raises:
        DataError: a column has another type.
    """
    columns = []
    for name in features:
        column, text = rows[name], is_text(like[name].dtype)
        if is_text(column.dtype) and not text:  # all is text in CSV
            numbers = column.cast(pl.String).str.strip_chars().replace({"": None, "true": "1", "false": "0"})
            column = numbers.cast(pl.Float64, strict=False)
            if column.null_count() > numbers.null_count():
                wrong = numbers.filter(column.is_null() & numbers.is_not_null())[0]
                raise DataError(
                    f"--examples: column {name} has {wrong!r}, and is a number in the training set",
                    hint="give rows of the same types as the training set's",
                )
        elif text and not is_text(column.dtype) and column.dtype != pl.Null:
            raise DataError(
                f"--examples: column {name} is {column.dtype}, and text in the training set",
                hint="give rows of the same types as the training set's",
            )
        columns.append(column.cast(pl.String) if text else typed_feature(column, name, "--examples"))
    return as_features(pl.DataFrame(columns), features)
