"""Counts the rows that differ between two tables of any size.

Each row is reduced to hashes, which go to disk; these are then compared a slice at a time, so that memory
does not grow with the tables. Rows are identified by 128 bits, their changes by 64: in a billion rows, the
chance that one is mistaken for another is about 10⁻²⁰.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tidemill.data.repository.dvc_command import temporary_folder
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.scanning import scan_parquet
from tidemill.errors import DataError

__all__ = ["RowCounts", "comparable", "compare_rows"]

_SLICE = 4_000_000
"""Rows of both tables that are compared at a time, which takes about 300 MB."""

_GROUP = 250_000
"""Rows that are read at once; parquet, because the pages of a mapped file would count as memory of ours."""


@dataclass(frozen=True)
class RowCounts:
    """Numbers of rows that differ."""

    added: int
    removed: int
    changed: int | None
    """Rows with the same key and another value; None when rows are compared as a whole."""


def compare_rows(
    before: pl.LazyFrame, after: pl.LazyFrame, key: Sequence[str], name: str, scratch: Path
) -> RowCounts:
    """Compare two tables over the columns that both have.

    Args:
        before: the earlier table.
        after: the later one.
        key: columns by which rows are matched; empty: rows are compared as a whole, and copies are counted.
        name: of the table, for errors.
        scratch: folder for 24 bytes a row.

    Raises:
        DataError: the key is missing from a table, or not unique in it.

    >>> from tempfile import gettempdir
    >>> before, after = pl.LazyFrame({"k": [1, 2], "x": [1, 1]}), pl.LazyFrame({"k": [2, 3], "x": [5, 5]})
    >>> compare_rows(before, after, ["k"], "numbers", Path(gettempdir()))
    RowCounts(added=1, removed=1, changed=1)
    >>> compare_rows(before, after, [], "numbers", Path(gettempdir()))
    RowCounts(added=2, removed=2, changed=None)
    """
    casts = comparable(before.collect_schema(), after.collect_schema())
    if missing := [column for column in key if column not in casts]:
        raise DataError(
            f"{name} cannot be compared by {', '.join(key)}: {', '.join(missing)} is not in both versions",
            hint="name columns of both with --key, or none to compare whole rows",
        )
    with temporary_folder(scratch, "tidemill-diff") as folder:
        sides = [folder / "before", folder / "after"]
        rows = sum(
            int(table.select(pl.len()).collect(engine="streaming").item()) for table in (before, after)
        )
        slices = max(1, -(-rows // _SLICE))
        for table, side in zip((before, after), sides, strict=True):
            _write(_hashes(table, casts, key), side, slices)
        counts = [_compare(sides, number, keyed=bool(key)) for number in range(slices)]
    total = [sum(column) for column in zip(*counts, strict=True)]
    if key and (total[3] or total[4]):
        where = " and ".join(
            f"{n} rows of the {which} version"
            for n, which in zip(total[3:], ("earlier", "later"), strict=True)
            if n
        )
        raise DataError(
            f"{name} cannot be compared by {', '.join(key)}: {where} have the same key as another row",
            hint="name more columns with --key, or none to compare whole rows",
        )
    return RowCounts(total[0], total[1], total[2] if key else None)


def comparable(before: pl.Schema, after: pl.Schema) -> dict[str, pl.Expr]:
    """Return an expression for each common column that gives equal values the same type on both sides."""
    found = {}
    for name, one in before.items():
        other = after.get(name)
        if other is None:
            continue
        column = pl.col(literal_name(name))
        if one == other:
            text = isinstance(one, pl.Categorical | pl.Enum)
            found[name] = column.cast(pl.String) if text else column
        elif one.is_integer() and other.is_integer():
            found[name] = column.cast(pl.Int128)
        elif one.is_numeric() and other.is_numeric():
            found[name] = column.cast(pl.Float64)
        elif _is_moment(one) and _is_moment(other):
            found[name] = column.cast(pl.Datetime("ns")).cast(pl.Int64)
        elif not one.is_nested() and not other.is_nested():
            found[name] = column.cast(pl.String)
    return found


def _is_moment(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.Datetime | pl.Date)


def _hashes(table: pl.LazyFrame, casts: dict[str, pl.Expr], key: Sequence[str]) -> pl.LazyFrame:
    identity = [casts[name] for name in (key or casts)]
    rest = [expression for name, expression in casts.items() if key and name not in key]
    if not identity:  # no column in common: no row in common
        return table.select(
            a=pl.int_range(pl.len(), dtype=pl.UInt64), b=pl.lit(0, pl.UInt64), r=pl.lit(0, pl.UInt64)
        )
    return table.select(
        a=pl.struct(identity).hash(1),
        b=pl.struct(identity).hash(2),
        r=pl.struct(rest).hash(3) if rest else pl.lit(0, pl.UInt64),
    )


def _write(hashes: pl.LazyFrame, side: Path, slices: int) -> None:
    """Write the hashes in slices; rows of one identity are in the slice of the same number on both sides."""
    side.mkdir()
    target = pl.PartitionBy(side, key=[(pl.col("a") % slices).alias("slice")], include_key=False)
    hashes.sink_parquet(target, compression="uncompressed", statistics=False, row_group_size=_GROUP)


def _compare(sides: Sequence[Path], number: int, keyed: bool) -> tuple[int, int, int, int, int]:
    """Return added, removed, changed, and the rows of either side whose key is not unique."""
    before, after = (
        _slice(side / f"slice={number}").group_by("a", "b").agg(n=pl.len().cast(pl.Int64), r=pl.first("r"))
        for side in sides
    )
    both = before.join(after, on=["a", "b"], how="full", coalesce=True, suffix="_after")
    was, now = pl.col("n").fill_null(0), pl.col("n_after").fill_null(0)
    row = (
        both.select(
            (now - was).clip(lower_bound=0).sum().alias("added"),
            (was - now).clip(lower_bound=0).sum().alias("removed"),
            (pl.col("r") != pl.col("r_after")).sum().alias("changed"),
            was.filter(was > 1).sum().alias("twice_before"),
            now.filter(now > 1).sum().alias("twice_after"),
        )
        .collect(engine="streaming")
        .row(0)
    )
    return (row[0], row[1], row[2], *(row[3:] if keyed else (0, 0)))


def _slice(folder: Path) -> pl.LazyFrame:
    if not folder.exists():
        return pl.LazyFrame(schema=dict.fromkeys("abr", pl.UInt64))
    return scan_parquet(sorted(folder.glob("*.parquet")))
