"""Read what the sketches of parts say of a window of predictions; of rows without a sketch, the rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tidemill.clock import utc
from tidemill.prediction_log.reading.log_files import Rows, read_files
from tidemill.prediction_log.storage.manifests import Located, Partition, retry_after_compaction
from tidemill.prediction_log.storage.part_sketches import LIVE, ROWS, SKETCH, read_sketches, sketch_of

__all__ = ["ColumnSketch", "WindowSketch", "read_window_sketch"]

_LINE = 300
"""About the bytes of a short line of a segment."""


class ColumnSketch(NamedTuple):
    """The values of one column in a window, of the versions that know it."""

    rows: int
    """With those whose value is missing."""
    known: int
    """Values that are not null."""
    spread: float
    """Sum of the distances of numbers from the means of their blocks."""
    values: pl.DataFrame
    """The blocks of numbers, the texts, or neither: columns of `part_sketches.SKETCH`."""


class WindowSketch:
    """The sketches of a window, one below the other."""

    def __init__(self, table: pl.DataFrame) -> None:
        """Take rows as `part_sketches.sketch_of` returns them."""
        self._table = table

    @cached_property
    def rows_by_version(self) -> dict[str, int]:
        """Return how many predictions each version has made, by version."""
        rows = self._table.filter(pl.col("column") == ROWS).group_by("version").agg(pl.col("count").sum())
        return {str(version): int(count) for version, count in rows.sort("version").iter_rows()}

    @property
    def rows(self) -> int:
        """Return how many predictions there are."""
        return sum(self.rows_by_version.values())

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the names of the columns."""
        return frozenset(self._by_column)

    def column(self, name: str, own: str, others: bool = True) -> ColumnSketch | None:
        """Return what is known of a column; None if there is no such column.

        Args:
            name: ``feature.<name>``, ``score`` or ``answer``.
            own: a version whose rows count even where all their values are missing.
            others: whether the rows of other versions count, where they have some value.
        """
        table = self._by_column.get(name)
        if table is None:
            return None
        known = table.filter(pl.col("known") > 0)
        versions = {own, *(known["version"] if others else ())}
        if versions != set(self.rows_by_version):
            table = table.filter(pl.col("version").is_in(list(versions)))
            known = table.filter(pl.col("known") > 0)
        return ColumnSketch(
            rows=sum(self.rows_by_version.get(version, 0) for version in versions),
            known=int(known["known"].sum()),
            spread=float(known["spread"].sum()),
            values=table.filter(pl.col("count").is_not_null()),
        )

    @cached_property
    def _by_column(self) -> dict[str, pl.DataFrame]:
        parts = self._table.filter(pl.col("column") != ROWS).partition_by("column", as_dict=True)
        return {str(key[0]): part for key, part in parts.items()}


def read_window_sketch(root: Path, model: str, start: datetime, end: datetime) -> WindowSketch | None:
    """Return the sketch of the predictions with ``start <= at < end``; None if most of them have none.

    Rows of parts that reach beyond the window, and those that are not compacted yet, are read.

    Args:
        root: the folder of the log, ``project.predictions``.
        model: name of the registered model.
        start: first moment, event time, aware.
        end: end of the window, itself not in it.

    Raises:
        ServingError: the log cannot be read.
    """
    days = utc(start).date(), (utc(end) - timedelta(microseconds=1)).date()
    edges = Rows(start, end, LIVE)

    def read(found: Sequence[Partition]) -> WindowSketch | None:
        sketched: dict[str, pl.DataFrame] = {}
        inside = [part for each in found for part in each.parts if _inside(part, start, end)]
        for place in {part.place for part in inside}:
            names = [part.name for part in inside if part.place == place]
            tables = read_sketches(place, names)
            sketched |= {
                place.location(name): table
                for name, table in zip(names, tables, strict=True)
                if table is not None
            }
        rest = [
            each._replace(parts=tuple(part for part in each.parts if _location(part) not in sketched))
            for each in found
        ]
        rows = sum(part.part.rows for part in inside if _location(part) in sketched)
        if rows < _most_rows(rest, start, end):
            return None
        more = read_files(rest, "predictions", edges).frame
        none = pl.DataFrame(schema=SKETCH)
        return WindowSketch(pl.concat([none, *sketched.values(), *([sketch_of(more)] if len(more) else [])]))

    return retry_after_compaction(root, model, "predictions", days, read)


def _inside(located: Located, start: datetime, end: datetime) -> bool:
    return located.part.first_at >= start and located.part.last_at < end


def _location(located: Located) -> str:
    return located.place.location(located.name)


def _most_rows(found: Sequence[Partition], start: datetime, end: datetime) -> int:
    """Return about how many rows must be looked at that have no sketch."""
    parts = [
        located.part.rows
        for each in found
        for located in each.parts
        if located.part.last_at >= start and located.part.first_at < end
    ]
    segments = [path.stat().st_size // _LINE for each in found for path in each.segments]
    return sum(parts) + sum(segments)
