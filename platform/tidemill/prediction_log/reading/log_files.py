"""Read segments and parts of the prediction log; of parts only the wanted rows and columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from tidemill.prediction_log.storage.log_schema import COLUMNS, TYPED, stacked, with_types
from tidemill.prediction_log.storage.manifests import Kind, Partition
from tidemill.prediction_log.storage.ndjson_reader import ParsedLines, read_lines

__all__ = ["Rows", "read_files"]


@dataclass(frozen=True)
class Rows:
    """Selects rows and columns of the log."""

    start: datetime | None = None
    """First moment, event time, aware."""
    end: datetime | None = None
    """End of the window, itself not in it."""
    where: pl.Expr | None = None
    """Further condition that rows must meet."""
    columns: tuple[str, ...] | None = None
    """The columns to read, where they exist; None for all."""

    @property
    def expression(self) -> pl.Expr:
        """The filter as an expression, true for the wanted rows."""
        expression = pl.lit(True) if self.where is None else self.where
        if self.start is not None:
            expression &= pl.col("at") >= self.start
        if self.end is not None:
            expression &= pl.col("at") < self.end
        return expression


def read_files(found: Sequence[Partition], kind: Kind, rows: Rows) -> ParsedLines:
    """Return the rows wanted of some dates, in no particular order, and how many torn lines there were.

    Every wanted column of `log_schema.TYPED` is there, null in records older than the column.
    """
    none = pl.DataFrame(schema=TYPED[kind])
    if rows.columns is not None:
        none = none.select(name for name in none.columns if name in rows.columns)
    lines = [_of_segments(each, kind, rows) for each in found if each.segments]
    scans = [scan for each in found for scan in _of_parts(each, kind, rows)]
    frames = [none, *pl.collect_all(scans), *(each.frame for each in lines)]
    torn = sum(each.torn for each in lines) + sum(each.torn for each in found)
    return ParsedLines(stacked(frames), torn)


def _of_segments(partition: Partition, kind: Kind, rows: Rows) -> ParsedLines:
    lines = read_lines(partition.segments, COLUMNS[kind])
    frame = with_types(lines.frame, kind).filter(rows.expression)
    if rows.columns is not None:
        frame = frame.select(name for name in rows.columns if name in frame.columns)
    return ParsedLines(frame, lines.torn)


def _of_parts(partition: Partition, kind: Kind, rows: Rows) -> list[pl.LazyFrame]:
    """Return a lazy frame of the wanted rows of the parts that can have any."""
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
