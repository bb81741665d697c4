"""Puts tables under each other whose columns have types of one kind, such as whole numbers and floats."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.errors import DataError

__all__ = ["common_type", "under_each_other"]


def under_each_other(files: Sequence[Path], tables: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows of tables that have the same columns, each column in one type that holds all values.

    Args:
        files: that the tables are read from, for the message.
        tables: columns may stand in another order in each.

    Raises:
        DataError: a column is of another kind in a file.

    >>> tables = [pl.LazyFrame({"n": [1]}), pl.LazyFrame({"n": [2.5]}), pl.LazyFrame({"n": [None]})]
    >>> under_each_other([Path(name) for name in "abc"], tables).collect().rows()
    [(1.0,), (2.5,), (None,)]
    """
    schemas = [table.collect_schema() for table in tables]
    columns = list[pl.Expr]()
    for name in schemas[0]:
        types = [schema[name] for schema in schemas]
        wanted = common_type(types)
        if wanted is None:
            first = next(place for place, one in enumerate(types) if one != pl.Null)
            other = next(place for place, one in enumerate(types) if common_type([types[first], one]) is None)
            raise DataError(
                f"{name} is of type {types[first]} in {files[first]}, and of type {types[other]} in "
                f"{files[other]}",
                hint="write that column with the same type into each file",
            )
        columns.append(pl.col(literal_name(name)).cast(wanted))
    return pl.concat([table.select(columns) for table in tables])


def common_type(types: Sequence[pl.DataType]) -> pl.DataType | None:
    """Return a type that holds the values of all these types, without changing what they mean.

    >>> common_type([pl.Int32(), pl.Float64()]), common_type([pl.Int64(), pl.Date()])
    (Float64, None)
    >>> common_type([pl.Datetime("ns", "UTC"), pl.Datetime("us", "Europe/Berlin"), pl.Null()])
    Datetime(time_unit='us', time_zone='UTC')
    """
    known = list(dict.fromkeys(one for one in types if one != pl.Null))
    if len(known) < 2:
        return known[0] if known else pl.Null()
    if all(one.is_numeric() for one in known):
        empty = [pl.DataFrame(schema={"": one}) for one in known]
        return pl.concat(empty, how="vertical_relaxed").schema[""]
    if all(one == pl.String or isinstance(one, pl.Categorical | pl.Enum) for one in known):
        return pl.String()
    if all(isinstance(one, pl.List) for one in known):
        inner = common_type([one.inner for one in known])  # type: ignore[attr-defined]
        return None if inner is None else pl.List(inner)
    if all(isinstance(one, pl.Datetime | pl.Date) for one in known):
        zoned = {getattr(one, "time_zone", None) is not None for one in known}
        return None if len(zoned) > 1 else pl.Datetime("us", "UTC" if zoned == {True} else None)
    return None
