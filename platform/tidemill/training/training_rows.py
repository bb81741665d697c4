"""Read the training set, and convert rows to the matrices that estimators take."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
from polars.exceptions import PolarsError

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.training.binary_labels import as_binary

__all__ = ["LabelledRows", "as_features", "read_labelled"]


class LabelledRows(NamedTuple):
    """Rows with labels, to train on."""

    rows: pl.DataFrame
    """In order of time: time, label, when the label was known, then the features as Float64."""
    without_label: int
    """Number of rows left out: their label should be known, but is null."""


def read_labelled(project: Project, features: Sequence[str], as_of: datetime) -> LabelledRows:
    """Read the rows of the training set whose label is known at ``as_of``.

    Raises:
        TrainingError: there is no such file, a column is missing or is not a number, or no label is known.
        DataError: a label is neither 0 nor 1.
    """
    path, dataset = project.dataset_path, project.config.dataset
    hint = "reproduce the data first: `tidemill run`, or `dvc repro` in the project's folder"
    try:
        schema = pl.scan_parquet(path, glob=False).collect_schema()
        missing = [
            name
            for name in (dataset.time, dataset.label, dataset.label_known, *features)
            if name not in schema
        ]
        if missing:
            raise TrainingError(f"{path} lacks the columns {', '.join(missing)}", hint=hint)
        words = [n for n in features if not (schema[n].is_numeric() or schema[n] in (pl.Boolean, pl.Null))]
        if words:
            raise TrainingError(
                f"features must be numbers, but in {path} these are not: "
                + ", ".join(f"{name} ({schema[name]})" for name in words),
                hint="encode them in a feature view",
            )
        known = (
            pl.scan_parquet(path, glob=False)
            .select(
                *literal_names((dataset.time, dataset.label, dataset.label_known)),
                *(pl.col(name).cast(pl.Float64).fill_nan(None) for name in literal_names(features)),
            )
            .filter(pl.col(literal_name(dataset.label_known)) <= as_of)
            .sort(literal_name(dataset.time), maintain_order=True)
            .collect()
        )
        labels = as_binary(known[dataset.label], f"{path}, column {dataset.label}")
    except (OSError, PolarsError) as error:
        raise TrainingError(f"the training set {path} cannot be read: {error}", hint=hint) from error
    rows = known.with_columns(labels).filter(pl.col(literal_name(dataset.label)).is_not_null())
    empty = known.height - rows.height
    if rows.is_empty():
        nulls = f"; {empty:,} rows have null for a label" if empty else ""
        raise TrainingError(
            f"{path} has no row whose label is known at {as_of:%Y-%m-%d %H:%M}{nulls}", hint=hint
        )
    return LabelledRows(rows, empty)


def as_features(rows: pl.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return (rows × features) as float64 with NaN where nothing is known.

    >>> as_features(pl.DataFrame({"wind": [3, None], "late": [0, 1]}), ["wind"])["wind"].tolist()
    [3.0, nan]
    """
    numbers = (pl.col(name).cast(pl.Float64) for name in literal_names(features))
    matrix = rows.select(number.fill_null(float("nan")) for number in numbers).to_numpy()
    return pd.DataFrame(np.ascontiguousarray(matrix), columns=list(features))
