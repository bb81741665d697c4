"""Which rows were known at a moment: the one rule by which nothing of the future is learnt from."""

from datetime import datetime

import polars as pl

from tidemill.data.tables.column_names import literal_name

__all__ = ["known_at"]


def known_at(moment: datetime, time: str | None, label_known: str | None) -> pl.Expr:
    """Return whether the event of a row lay before ``moment``, and its label was known by then.

    A row of the very moment is not known yet: it is what the version that is made then is asked about. So
    rows that have a date for their time count from the next day on.

    Args:
        moment: event time, aware.
        time: column with the rows' times; None: rows have none.
        label_known: column with the moment at which the label became known, without one not yet; None: with
            the event.

    >>> from datetime import UTC
    >>> day = [datetime(2013, 4, each, tzinfo=UTC) for each in (1, 2, 3)]
    >>> rows = pl.DataFrame({"day": day, "known": [day[1], day[1], day[2]]})
    >>> rows.select(known_at(day[1], "day", "known")).to_series().to_list()
    [True, False, False]
    """
    known = pl.lit(True)
    if time is not None:
        known = pl.col(literal_name(time)) < moment
    if label_known is not None:
        known = known & (pl.col(literal_name(label_known)) <= moment).fill_null(value=False)
    return known
