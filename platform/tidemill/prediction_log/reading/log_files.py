"""Reads files of the prediction log, segments and parts alike; of parts only what is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tidemill.prediction_log.storage.log_schema import COLUMNS, TYPED, typed
from tidemill.prediction_log.storage.manifests import Kind, Partition
from tidemill.prediction_log.storage.ndjson_reader import Lines, read_lines

__all__ = ["Rows", "read_files"]


@dataclass(frozen=True)
class Rows:
    """Which rows are wanted, and what of them."""

    start: datetime | None = None
    """First moment, event time, aware."""
    end: datetime | None = None
    """End of the window, itself not in it."""
    where: pl.Expr | None = None
    """What else must be true of them."""
    columns: tuple[str, ...] | None = None
    """The only columns to read, those that there are; none for all."""

    @property
    def expression(self) -> pl.Expr:
        """True for the rows wanted."""
        expression = pl.lit(True) if self.where is None else self.where
        if self.start is not None:
            expression &= pl.col("at") >= self.start
        if self.end is not None:
            expression &= pl.col("at") < self.end
        return expression


def read_files(found: Sequence[Partition], kind: Kind, rows: Rows) -> Lines:
    """Return the rows wanted of some dates, in no particular order, and how many torn lines there were.

    Every column of `log_schema.TYPED` that is wanted is there, null where a record is older.
    """
    none = pl.DataFrame(schema=TYPED[kind])
    if rows.columns is not None:
        none = none.select(name for name in none.columns if name in rows.columns)
    lines = [_of_segments(each, kind, rows) for each in found if each.segments]
    scans = [scan for each in found for scan in _of_parts(each, kind, rows)]
    frames = [none, *pl.collect_all(scans), *(each.frame for each in lines)]
    torn = sum(each.torn for each in lines) + sum(each.torn for each in found)
    return Lines(pl.concat(frames, how="diagonal_relaxed"), torn)


def _of_segments(partition: Partition, kind: Kind, rows: Rows) -> Lines:
    lines = read_lines(partition.segments, COLUMNS[kind])
    frame = typed(lines.frame, kind).filter(rows.expression)
    if rows.columns is not None:
        frame = frame.select(name for name in rows.columns if name in frame.columns)
    return Lines(frame, lines.torn)


def _of_parts(partition: Partition, kind: Kind, rows: Rows) -> list[pl.LazyFrame]:
    """Return the rows wanted of the parts that can have any, not read yet."""
    scans = []
    for located in partition.parts:
        if rows.start is not None and located.part.last_at < rows.start:
            continue
        if rows.end is not None and located.part.first_at >= rows.end:
            continue
        scan = located.scan()
        names = scan.collect_schema().names()
        older = [name for name in TYPED[kind] if name not in names]
        scan = scan.with_columns(pl.lit(None, TYPED[kind][name]).alias(name) for name in older)
        scan = scan.filter(rows.expression)
        if rows.columns is not None:
            scan = scan.select(name for name in rows.columns if name in (*names, *older))
        scans.append(scan)
    return scans
