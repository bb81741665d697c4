"""Leaves out rows of versions that were made for other features, where they say nothing. Pure."""

import polars as pl

from tidemill.data.tables.column_names import literal_names

__all__ = ["knowing", "knowing_all", "known_together"]


def knowing(values: pl.Series, served_by: pl.Series, own: str) -> pl.Series:
    """Return which rows were answered by a version that knows a feature: one with some value of it.

    Args:
        values: of the feature.
        served_by: the version that answered each row.
        own: the version that is monitored, which knows it even if all its values are missing.

    >>> knowing(pl.Series([1.0, None, None]), pl.Series(["2", "2", "1"]), "2").to_list()
    [True, True, False]
    """
    versions = served_by.filter(values.alias("values").is_not_null()).unique().to_list()
    return served_by.is_in([*versions, own])


def knowing_all(features: pl.DataFrame, served_by: pl.Series, own: str) -> pl.Series:
    """Return which rows were answered by a version that knows every feature, as `knowing` does of one.

    >>> rows = pl.DataFrame({"a": [1.0, 2.0], "new": [None, 5.0]})
    >>> knowing_all(rows, pl.Series(["1", "2"]), "2").to_list()
    [False, True]
    """
    every = pl.repeat(True, features.height, eager=True)
    for values in features:
        every &= knowing(values, served_by, own)
    return every


def known_together(
    before: pl.DataFrame, now: pl.DataFrame, served_by: tuple[pl.Series | None, pl.Series], own: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the features that both sides know, and of each side the rows of versions that know all of them.

    Args:
        before: features of what is compared with.
        now: features of the window.
        served_by: the version that answered each row of both; None: rows of a training set.
        own: the version that is monitored.

    >>> now = pl.DataFrame({"a": [1.0, 2.0], "new": [None, 5.0]})
    >>> before, now = known_together(now[1:], now, (None, pl.Series(["1", "2"])), "2")
    >>> now.to_dicts()
    [{'a': 2.0, 'new': 5.0}]
    """
    names = [name for name in before.columns if name in now.columns]
    sides = [(before, served_by[0]), (now, served_by[1])]
    for side, versions in sides:
        if versions is not None:
            names = [name for name in names if knowing(side[name], versions, own).any()]
    found = []
    for side, versions in sides:
        kept = side.select(literal_names(names))
        if versions is not None:
            kept = kept.filter(knowing_all(kept, versions, own))
        found.append(kept)
    return found[0], found[1]
