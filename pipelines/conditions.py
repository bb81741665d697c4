"""Computes hourly features of the airports of origin: the weather, and recent departures."""

import math

import polars as pl

__all__ = ["origin_departures", "origin_weather"]

_HOUR = pl.duration(hours=1)
_LATE = 15
"""Minutes: a departure with a longer delay is late."""
_SANE = (-30, 180)
"""Beyond these minutes, one odd flight would rule a mean."""


def origin_weather(weather: pl.DataFrame) -> pl.DataFrame:
    """Return each observation as of the end of its hour, with the rain and the pressure of the hours before.

    Args:
        weather: the validated table; °F, miles an hour, inches, millibars, miles.

    Returns:
        ``origin``, ``event_timestamp`` and features. Wind is a vector (to east, to north) beside its speed.
    """
    hourly = weather.sort("origin", "observed_at").with_columns(
        # whole hundredths of an inch: sums of them are exact
        (pl.col("precip") * 100).round(0).cast(pl.Int32).alias("rain"),
        (pl.col("wind_dir") * (math.pi / 180)).alias("bearing"),
    )
    hourly = hourly.with_columns(
        pl.col("rain").rolling_sum_by("observed_at", window_size="6h").over("origin").alias("rain_6h")
    )
    before = hourly.select("origin", pl.col("observed_at") + 3 * _HOUR, pressure_before="pressure")
    return (
        hourly.join(before, on=["origin", "observed_at"], how="left", maintain_order="left")
        .select(
            "origin",
            (pl.col("observed_at") + _HOUR).alias("event_timestamp"),
            temperature="temp",
            humidity="humid",
            wind_speed="wind_speed",
            # a wind of 270 degrees comes from the west and blows to the east
            wind_east=-pl.col("bearing").sin() * pl.col("wind_speed"),
            wind_north=-pl.col("bearing").cos() * pl.col("wind_speed"),
            precipitation="precip",
            precipitation_6h=pl.col("rain_6h") / 100,
            pressure="pressure",
            pressure_change_3h=pl.col("pressure") - pl.col("pressure_before"),
            visibility="visib",
        )
        .sort("event_timestamp", "origin")
    )


def origin_departures(flights: pl.DataFrame) -> pl.DataFrame:
    """Return, at each full hour, how the departures of the three hours before went.

    Args:
        flights: the validated table.

    Returns:
        ``origin``, ``event_timestamp``, number of departures, the share that left more than 15 minutes late
        and the mean delay in minutes (both null without departures). Hours without departures have a row for
        a day: an airport at night is not a feed that broke.
    """
    hourly = (
        flights.filter(pl.col("departed_at").is_not_null())
        .group_by("origin", (pl.col("departed_at").dt.truncate("1h") + _HOUR).alias("hour"))
        .agg(
            count=pl.len().cast(pl.Int64),
            late=(pl.col("dep_delay") > _LATE).sum().cast(pl.Int64),
            delay=pl.col("dep_delay").clip(*_SANE).sum().cast(pl.Int64),
        )
    )
    sums = ("count", "late", "delay")
    running = (
        hourly.group_by("origin")
        .agg(first=pl.col("hour").min(), last=pl.col("hour").max() + 23 * _HOUR)
        .select("origin", pl.datetime_ranges("first", "last", "1h").alias("hour"))
        .explode("hour")
        .join(hourly, on=["origin", "hour"], how="left")
        .sort("origin", "hour")
        .with_columns(pl.col(sums).fill_null(0))
        .with_columns(
            pl.col("count").rolling_sum(24, min_samples=1).over("origin").alias("count_24h"),
            *(pl.col(name).rolling_sum(3, min_samples=1).over("origin") for name in sums),
        )
        .filter(pl.col("count_24h") > 0)  # a longer gap is filled up to a departure still to come
    )
    some = pl.when(pl.col("count") > 0)
    return running.select(
        "origin",
        event_timestamp="hour",
        departures_3h=pl.col("count").cast(pl.Float64),
        departures_late_share_3h=some.then(pl.col("late") / pl.col("count")),
        departures_delay_3h=some.then(pl.col("delay") / pl.col("count")),
    ).sort("event_timestamp", "origin")
