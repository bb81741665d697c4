"""The point-in-time join: for every row the latest value that was known at the row's moment.

Plain Polars over plain frames, without Feast or files. What fits into memory is joined at once; what
does not is set aside on disk and joined piece by piece, with the same result.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from tidemill.features.offline.asof_rules import (
    AT,
    History,
    Lookup,
    Span,
    history_within,
    latest_features,
    look_up,
    request_keys,
    sort_history,
    span_of,
    utc_moments,
)
from tidemill.features.offline.partitions import join_in_pieces
from tidemill.features.offline.spill import JoinResources, estimate_join_bytes, sizes_of, spilling

__all__ = ["History", "JoinResources", "point_in_time_batches", "point_in_time_join", "utc_moments"]

BATCH_ROWS = 1_000_000


def point_in_time_join(
    rows: pl.DataFrame, at: str, histories: Sequence[History], *, room: JoinResources | None = None
) -> pl.DataFrame:
    """Return the features of every row as they were known at its moment.

    A row gets, from each history, the values of the latest timestamp that is not after the row's moment. It
    gets nulls if there is none, if that one is older than the TTL, or if the row's key or moment is null.

    Args:
        rows: Keys and moments; duplicates are fine, no order is needed.
        at: Column of ``rows`` with the moments; naive means UTC.
        histories: Where the values come from.
        room: How much memory the join may take; more is set aside on disk.

    Returns:
        The features only: as many rows as ``rows``, in the same order, columns in the order of the histories.

    Raises:
        FeatureError: a column is missing or cannot be compared, a source cannot be read, or the disk is full.

    >>> from datetime import datetime, timedelta
    >>> rows = pl.DataFrame({"origin": ["JFK", "JFK"], "at": [datetime(2013, 1, 2), datetime(2013, 1, 9)]})
    >>> weather = pl.LazyFrame({"origin": ["JFK"], "time": [datetime(2013, 1, 1)], "wind": [12.5]})
    >>> keys, features = {"origin": "origin"}, {"wind": "wind"}
    >>> history = History("weather", weather, keys, features, "time", ttl=timedelta(days=2))
    >>> point_in_time_join(rows, "at", [history])["wind"].to_list()
    [12.5, None]
    """
    lookups = look_up(rows.schema, at, histories)
    if not lookups:
        return pl.DataFrame(height=rows.height)
    return pl.concat(_answers(rows, at, lookups, room or JoinResources(), BATCH_ROWS))


def point_in_time_batches(
    rows: pl.DataFrame,
    at: str,
    histories: Sequence[History],
    batch_rows: int = BATCH_ROWS,
    *,
    room: JoinResources | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the result of `point_in_time_join` in batches, for results larger than memory.

    Temporary files are deleted when the iterator is exhausted, closed or fails.

    Args:
        rows: Keys and moments.
        at: Column of ``rows`` with the moments; naive means UTC.
        histories: Where the values come from.
        batch_rows: Rows of a batch; the last has what remains.
        room: How much memory the join may take; more is set aside on disk.

    Raises:
        FeatureError: as `point_in_time_join`; raised at the call if the columns are wrong.

    >>> from datetime import datetime
    >>> rows = pl.DataFrame({"at": [datetime(2013, 1, day) for day in (3, 1, 2)]})
    >>> holidays = pl.LazyFrame({"time": [datetime(2013, 1, 2)], "holiday": [True]})
    >>> history = History("holidays", holidays, {}, {"holiday": "holiday"}, "time")
    >>> [batch["holiday"].to_list() for batch in point_in_time_batches(rows, "at", [history], 2)]
    [[True, None], [True]]
    """
    lookups = look_up(rows.schema, at, histories)
    if not lookups:
        starts = range(0, rows.height, batch_rows)
        return (pl.DataFrame(height=min(batch_rows, rows.height - start)) for start in starts)
    answers = _answers(rows, at, lookups, room or JoinResources(), batch_rows)
    return (batch for answer in answers for batch in answer.iter_slices(batch_rows))


def _answers(
    rows: pl.DataFrame, at: str, lookups: Sequence[Lookup], room: JoinResources, batch_rows: int
) -> Iterator[pl.DataFrame]:
    """Yield the result in the order of the rows: whole if memory allows, else in batches."""
    unit = lookups[0].unit
    moments = rows.select(utc_moments(at, rows.schema[at], unit).alias(AT))[AT]
    for lookup in lookups:  # raises at the call if types cannot be compared
        request_keys(rows.lazy().with_columns(moments), rows.schema, lookup)
    span = span_of(moments)
    if span is None:
        nulls = {name: dtype for lookup in lookups for name, dtype in lookup.result.items()}
        return iter([pl.DataFrame(schema=nulls).clear(rows.height)])
    asked = rows.with_columns(moments)
    sizes = sizes_of(lookups)
    if estimate_join_bytes(asked.height, lookups, sizes) <= room.memory:
        return iter([_at_once(asked, lookups, span)])
    return join_in_pieces(asked, lookups, sizes, span, room, batch_rows)


def _at_once(rows: pl.DataFrame, lookups: Sequence[Lookup], span: Span) -> pl.DataFrame:
    """Join all histories in memory, to rows that are sorted only once."""
    moments = rows[AT]
    order = None if moments.is_sorted() and not moments.has_nulls() else moments.arg_sort()
    asked = rows if order is None else rows[order]
    answers = [
        latest_features(
            request_keys(asked.lazy(), rows.schema, lookup),
            sort_history(history_within(lookup, span), lookup),
            lookup,
        )
        for lookup in lookups
    ]
    with spilling(", ".join(lookup.history.name for lookup in lookups), None):
        answer = pl.concat(pl.collect_all(answers), how="horizontal")
    return answer if order is None else answer[order.arg_sort()]
