"""The history of a project whose features come in the request: the rows of its training set."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from tidemill.clock import utc
from tidemill.data.tables.column_names import literal_name
from tidemill.errors import DataError
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TableHistory", "read_history"]


@dataclass(frozen=True)
class TableHistory:
    """Rows that were known later, as requests; labels arrive when they became known."""

    rows: pl.DataFrame
    """``at``, ``instance`` (a struct), ``label``, ``label_at``; sorted by ``at``."""

    def requests(self, start: datetime, end: datetime, per_day: int, seed: int) -> pl.DataFrame:
        """Return the rows of ``[start, end)``, sorted by ``at``; of a day at most ``per_day``, by chance.

        Days begin when ``start`` does.
        """
        asked = self.rows.filter(pl.col("at").is_between(utc(start), utc(end), closed="left"))
        day = (pl.col("at") - utc(start)).dt.total_days().alias("day")
        drawn = pl.int_range(pl.len()).shuffle(seed).over(day) < per_day
        return asked.filter(drawn)

    def updates(self, start: datetime, end: datetime) -> Iterable[tuple[datetime, str, "pd.DataFrame"]]:
        """Return nothing: there is no feature store."""
        return ()

    @property
    def first(self) -> datetime:
        """The moment of the first row."""
        return self._moment(0)

    @property
    def last(self) -> datetime:
        """The moment of the last row."""
        return self._moment(-1)

    def after(self, share: float) -> datetime:
        """Return the moment before which a share of the rows lies."""
        return self._moment(int(share * (self.rows.height - 1)))

    def _moment(self, place: int) -> datetime:
        found: datetime = self.rows["at"][place]
        return found.astimezone(UTC)


def read_history(project: Project) -> TableHistory:
    """Return the rows of the training set as it is on disk.

    Raises:
        ConfigError: ``features.yaml`` is missing or wrong, or rows have no time.
        DataError: the training set cannot be read, or a column is not in it.
    """
    dataset = project.config.dataset
    time, known = dataset.time_column, dataset.label_known or dataset.time_column
    features = [column.name for column in read_columns(project)]
    try:
        table = pl.read_parquet(project.dataset_path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{project.dataset_path} cannot be read: {error}", hint="run the stages: `tidemill run`"
        ) from error
    if missing := [name for name in (time, known, dataset.label, *features) if name not in table.columns]:
        raise DataError(
            f"{project.dataset_path} has no column {', '.join(missing)}",
            hint="the last stage must write what features.yaml and params.yaml name",
        )
    label = pl.col(literal_name(dataset.label))
    rows = table.select(
        pl.col(literal_name(time)).dt.cast_time_unit("us").alias("at"),
        pl.struct([pl.col(literal_name(name)) for name in features]).alias("instance"),
        (label.cast(pl.Float64) if table.schema[dataset.label].is_decimal() else label).alias("label"),
        pl.col(literal_name(known)).dt.cast_time_unit("us").alias("label_at"),
    )
    return TableHistory(rows.sort("at", maintain_order=True))
