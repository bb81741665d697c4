"""Stage 1: converts the CSV files of the data set to three parquet tables of what is known at a moment.

Clocks become moments: the schedule is in the airports' own times, without dates. Facts about a flight appear
when they happen: its departure when it has left, its arrival when it has arrived.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from pipelines.source import read_aircraft, read_flights, read_weather, source_folder
from pipelines.span import NEW_YORK, Span, read_span
from pipelines.stage import run_stage, write_outputs
from tidemill import DataError, Project, without_erased

__all__ = ["WEATHER_DELAY", "ingest", "tables"]

WEATHER_DELAY = timedelta(hours=1)
"""An observation of an hour is made near its end: it is known when the hour is over."""

_DEPARTURE = ("departed_at", "dep_delay")
_ARRIVAL = ("arrived_at", "arr_delay", "air_time")


def ingest(project: Project) -> None:
    """Write ``data/raw/{flights,weather,aircraft}.parquet``, without the rows of erased subjects.

    Raises:
        DataError: a month is outside the data, or a CSV file is missing or broken.
    """
    span = read_span(project.params)
    folder = source_folder((project.params.get("data") or {}).get("source"), project.root)
    found = tables(span, read_flights(folder), read_weather(folder), read_aircraft(folder))
    if found["flights"].is_empty():
        raise DataError(
            f"{folder} has no flight until {span.as_of.isoformat()}",
            hint="choose other months, or a later moment",
        )
    write_outputs(
        {
            project.root / "data" / "raw" / f"{name}.parquet": without_erased(table, project)
            for name, table in found.items()
        }
    )


def tables(
    span: Span, flights: pl.DataFrame, weather: pl.DataFrame, aircraft: pl.DataFrame
) -> Mapping[str, pl.DataFrame]:
    """Return what is known at ``span.as_of`` until the span's end: tables flights, weather and aircraft.

    Raises:
        DataError: a date or time cannot be read.
    """
    try:
        return {
            "flights": _flights(flights, span),
            "weather": _weather(weather, span),
            "aircraft": aircraft.sort("tailnum"),
        }
    except PolarsError as error:  # such as a time_hour that is not a time
        raise DataError(
            f"the CSV files have values that cannot be understood: {error}",
            hint="see data.source in params.yaml",
        ) from error


def _flights(flights: pl.DataFrame, span: Span) -> pl.DataFrame:
    scheduled = _hour("time_hour") + pl.duration(minutes="minute")
    day = pl.date("year", "month", "day")
    table = flights.filter(day < span.end).select(
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        "zone",
        "distance",
        scheduled.alias("scheduled_departure"),
        "sched_arr_time",
        "arr_time",
        *(pl.col(name) for name in ("dep_delay", "arr_delay", "air_time")),
    )
    table = table.filter(pl.col("scheduled_departure") < span.as_of)
    table = table.with_columns(
        (pl.col("scheduled_departure") + pl.duration(minutes="dep_delay")).alias("departed_at")
    )
    table = table.with_columns(
        _arrival(table, "scheduled_departure", "sched_arr_time").alias("scheduled_arrival"),
        _arrival(table, "departed_at", "arr_time").alias("arrived_at"),
    )
    table = table.with_columns(
        *(_known(pl.col("departed_at"), span).then(pl.col(name)).alias(name) for name in _DEPARTURE),
        *(_known(pl.col("arrived_at"), span).then(pl.col(name)).alias(name) for name in _ARRIVAL),
    )
    return table.select(
        *("carrier", "flight", "tailnum", "origin", "dest", "distance"),
        *("scheduled_departure", "scheduled_arrival", *_DEPARTURE, *_ARRIVAL),
    ).sort("scheduled_departure", "carrier", "flight", "origin", "dest")


def _arrival(flights: pl.DataFrame, departure: str, clock: str) -> pl.Series:
    """Return when a flight arrived that left at ``departure``, from the destination's ``clock`` (hhmm).

    No flight takes a day, so the clock alone says how long it took.
    """
    minutes = pl.col(clock) // 100 * 60 + pl.col(clock) % 100
    elapsed = pl.lit(None, dtype=pl.Int32)
    for zone in flights["zone"].unique().sort():
        left = pl.col(departure).dt.convert_time_zone(zone)
        clock_there = left.dt.hour().cast(pl.Int32) * 60 + left.dt.minute()
        elapsed = pl.when(pl.col("zone") == zone).then((minutes - clock_there) % 1440).otherwise(elapsed)
    return flights.select(pl.col(departure) + pl.duration(minutes=elapsed)).to_series()


def _known(moment: pl.Expr, span: Span) -> Any:
    return pl.when(moment <= span.as_of)


def _weather(weather: pl.DataFrame, span: Span) -> pl.DataFrame:
    observed = _hour("time_hour")
    local = observed.dt.convert_time_zone(NEW_YORK.key).dt.date()
    table = weather.with_columns(observed.alias("observed_at")).filter(
        local < span.end, pl.col("observed_at") + WEATHER_DELAY <= span.as_of
    )
    return (
        table.drop("time_hour")
        .select("origin", "observed_at", pl.exclude("origin", "observed_at"))
        .sort("origin", "observed_at")
    )


def _hour(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us")


if __name__ == "__main__":
    run_stage(ingest)
