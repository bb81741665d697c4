"""Tells how many rows of a hold-out an imported version has learnt from, as far as its lineage says it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from tidemill.data.tables.known_rows import known_at
from tidemill.project.project_config import DatasetConfig

__all__ = ["count_learnt"]


def count_learnt(imported: Mapping[str, Any] | None, rows: pl.DataFrame, dataset: DatasetConfig) -> int:
    """Return how many rows a version of this model, imported again, was fitted on: it was refitted on all.

    Args:
        imported: of the version's lineage; ``learnt_until`` is the moment until which all rows were learnt.
        rows: the hold-out.
        dataset: which columns are their times.

    >>> rows = pl.DataFrame({"event_timestamp": [datetime(2013, 4, 1), datetime(2013, 5, 1)]})
    >>> rows = rows.with_columns(pl.all().dt.replace_time_zone("UTC"))
    >>> dataset = DatasetConfig(path="t.parquet", label="late", label_known=None)
    >>> count_learnt({"learnt_until": "2013-04-15T00:00:00+00:00"}, rows, dataset)
    1
    """
    if imported is None or "learnt_until" not in imported:
        return 0
    until = datetime.fromisoformat(imported["learnt_until"])
    known = dataset.label_known if dataset.label_known in rows.columns else None
    time = dataset.time if dataset.time in rows.columns else None
    return rows.filter(known_at(until, time, known)).height
