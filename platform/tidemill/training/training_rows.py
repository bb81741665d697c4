"""Reads the training set and turns rows into what estimators take."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from polars.exceptions import PolarsError

from tidemill.errors import TrainingError
from tidemill.project import Project

__all__ = ["as_features", "as_labels", "read_labelled"]


def read_labelled(project: Project, features: Sequence[str], as_of: datetime) -> pl.DataFrame:
    """Read the rows of the training set whose label is known at ``as_of``, in order of time.

    Returns:
        The columns for time, label, and when the label was known, then ``features`` as Float64.

    Raises:
        TrainingError: there is no such file, a column is missing or is not a number, or no label is known.
    """
    path, dataset = project.dataset_path, project.config.dataset
    hint = "reproduce the data first: `tidemill run`, or `dvc repro` in the project's folder"
    try:
        schema = pl.read_parquet_schema(path)
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
        rows = (
            pl.scan_parquet(path)
            .select(
                dataset.time,
                pl.col(dataset.label).cast(pl.Int8),
                dataset.label_known,
                pl.col(*features).cast(pl.Float64).fill_nan(None),
            )
            .filter(pl.col(dataset.label_known) <= as_of, pl.col(dataset.label).is_in([0, 1]))
            .sort(dataset.time, maintain_order=True)
            .collect()
        )
    except (OSError, PolarsError) as error:
        raise TrainingError(f"the training set {path} cannot be read: {error}", hint=hint) from error
    if rows.is_empty():
        raise TrainingError(f"{path} has no row whose label is known at {as_of:%Y-%m-%d %H:%M}", hint=hint)
    return rows


def as_features(rows: pl.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Return (rows × features) as float64 with NaN where nothing is known.

    >>> as_features(pl.DataFrame({"wind": [3, None], "late": [0, 1]}), ["wind"])["wind"].tolist()
    [3.0, nan]
    """
    matrix = rows.select(pl.col(*features).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    return pd.DataFrame(np.ascontiguousarray(matrix), columns=list(features))


def as_labels(rows: pl.DataFrame, label: str) -> npt.NDArray[np.int8]:
    """Return the labels, shape (rows,), as 0 or 1."""
    return rows[label].to_numpy().astype(np.int8)
