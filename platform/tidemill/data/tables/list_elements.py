"""Gaps in lists of numbers: what is null, NaN or infinite in a list is not known, as for plain numbers."""

import polars as pl

__all__ = ["known_elements"]


def known_elements(lists: pl.Expr) -> pl.Expr:
    """Return lists with null for each gap inside; one in which nothing is known is null itself.

    >>> rows = pl.DataFrame({"e": [[1.0, float("nan")], [float("inf"), None], None]})
    >>> rows.select(known_elements(pl.col("e")))["e"].to_list()
    [[1.0, None], None, None]
    """
    element = pl.element()
    found = lists.list.eval(pl.when(element.cast(pl.Float64).is_finite()).then(element))
    return pl.when(found.list.drop_nulls().list.len() > 0).then(found)
