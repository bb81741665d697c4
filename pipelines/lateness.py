"""Computes past lateness of airlines, destinations and aircraft, from earlier days only.

Once a day, at 03:00 in New York, the books of the days before are closed. A flight goes into the first
closing after its own day at which it has arrived, and into no other.
"""

import polars as pl

from pipelines.span import NEW_YORK

__all__ = ["LATE", "aircraft_lateness", "closings", "group_lateness"]

LATE = 15
"""Minutes: a flight that arrives later than this is late."""
_CLOSING = "3h"
_DELAY = pl.col("arr_delay").clip(-60, 180).cast(pl.Int64)
"""Beyond these minutes, one odd flight would rule a mean."""
_WINDOWS = (1, 7, 28)


def closings(flights: pl.DataFrame) -> pl.DataFrame:
    """Return the flights that have arrived, with ``closing``: the date of the closing that they go into.

    >>> from datetime import UTC, datetime
    >>> moments = [datetime(2013, 7, 1, 14, tzinfo=UTC), datetime(2013, 7, 2, 1, tzinfo=UTC)]
    >>> flights = pl.DataFrame({
    ...     "scheduled_departure": moments, "arr_delay": [3, 200],
    ...     "arrived_at": [datetime(2013, 7, 1, 18, tzinfo=UTC), datetime(2013, 7, 2, 7, 1, tzinfo=UTC)]})
    >>> closings(flights)["closing"].to_list()  # the second arrives at 03:01 in New York
    [datetime.date(2013, 7, 2), datetime.date(2013, 7, 3)]
    """
    day = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK.key).dt.date()
    arrived = pl.col("arrived_at").dt.convert_time_zone(NEW_YORK.key).dt.replace_time_zone(None)
    # an arrival at 03:00 sharp is known at 03:00
    reached = (arrived.dt.offset_by(f"-{_CLOSING}").dt.offset_by("-1us").dt.date()).dt.offset_by("1d")
    return flights.filter(pl.col("arr_delay").is_not_null()).with_columns(
        pl.max_horizontal(day.dt.offset_by("1d"), reached).alias("closing")
    )


def group_lateness(flights: pl.DataFrame, key: str, prefix: str) -> pl.DataFrame:
    """Return, at each closing, the lateness of each value of ``key`` over the last 1, 7 and 28 closings.

    Args:
        flights: from `closings`.
        key: the column to group by.
        prefix: of the features' names.

    Returns:
        ``key``, ``event_timestamp``, the share of late arrivals per window (null without flights), the mean
        delay in minutes over the last closing, and the mean distance in miles over the longest window. Every
        value that had flights in the longest window has a row, so the latest row is never out of date.
    """
    daily = (
        flights.filter(pl.col(key).is_not_null())
        .group_by(key, "closing")
        .agg(
            count=pl.len().cast(pl.Int64),
            late=(pl.col("arr_delay") > LATE).sum().cast(pl.Int64),
            delay=_DELAY.sum(),
            distance=pl.col("distance").sum().cast(pl.Int64),
        )
    )
    longest = max(_WINDOWS)
    days = (
        daily.group_by(key)
        .agg(first=pl.col("closing").min(), last=pl.col("closing").max().dt.offset_by(f"{longest - 1}d"))
        .select(key, pl.date_ranges("first", "last").alias("closing"))
        .explode("closing")
    )
    sums = ("count", "late", "delay", "distance")
    running = (
        days.join(daily, on=[key, "closing"], how="left")
        .sort(key, "closing")
        .with_columns(pl.col(sums).fill_null(0))
        .with_columns(
            pl.col(name).rolling_sum(window, min_samples=1).over(key).alias(f"{name}_{window}")
            for window in _WINDOWS
            for name in sums
        )
    )
    # a longer gap is filled up to the next flight: without this filter a row would tell that there is one
    return (
        running.filter(pl.col(f"count_{longest}") > 0)
        .select(
            key,
            _moment().alias("event_timestamp"),
            *(_mean("late", window).alias(f"{prefix}_late_share_{window}d") for window in _WINDOWS),
            _mean("delay", 1).alias(f"{prefix}_delay_1d"),
            _mean("distance", longest).alias(f"{prefix}_distance"),
        )
        .sort("event_timestamp", key)
    )


def aircraft_lateness(flights: pl.DataFrame) -> pl.DataFrame:
    """Return, at each closing that an aircraft has flights in, the lateness of its last flights.

    An aircraft flies on some days only: counting flights, not days, its row changes only when it has flown.

    Args:
        flights: from `closings`.

    Returns:
        ``tailnum``, ``event_timestamp``, the share of late arrivals among the last 30, the mean delay in
        minutes of the last 10, and the number of flights in this closing.
    """
    ordered = flights.filter(pl.col("tailnum").is_not_null()).sort(
        "closing", "scheduled_departure", "flight", "carrier", "origin", "dest"
    )
    so_far = pl.int_range(1, pl.len() + 1)
    running = ordered.select(
        "tailnum",
        "closing",
        (_last(pl.col("arr_delay") > LATE, 30) / so_far.clip(upper_bound=30)).over("tailnum").alias("late"),
        (_last(_DELAY, 10) / so_far.clip(upper_bound=10)).over("tailnum").alias("delay"),
    )
    return (
        running.group_by("tailnum", "closing", maintain_order=True)
        .agg(pl.col("late").last(), pl.col("delay").last(), pl.len().cast(pl.Float64).alias("flights"))
        .select(
            "tailnum",
            _moment().alias("event_timestamp"),
            aircraft_late_share_30="late",
            aircraft_delay_10="delay",
            aircraft_new_flights="flights",
        )
        .sort("event_timestamp", "tailnum")
    )


def _last(values: pl.Expr, flights: int) -> pl.Expr:
    return values.cast(pl.Int64).rolling_sum(flights, min_samples=1)


def _mean(name: str, window: int) -> pl.Expr:
    count = pl.col(f"count_{window}")
    return pl.when(count > 0).then(pl.col(f"{name}_{window}") / count)


def _moment() -> pl.Expr:
    """Return the moment of the closing, from its date."""
    clock = pl.col("closing").cast(pl.Datetime("us")).dt.offset_by(_CLOSING)
    return clock.dt.replace_time_zone(NEW_YORK.key).dt.convert_time_zone("UTC")
