"""Stage 3: writes features of airports, airlines, destinations and aircraft, with when they were known."""

from datetime import UTC, datetime

import polars as pl

from pipelines.conditions import origin_departures, origin_weather
from pipelines.lateness import aircraft_lateness, closings, group_lateness
from pipelines.span import YEAR, read_span
from pipelines.stage import read_parquet, run_stage, write_outputs
from tidemill import Project

__all__ = ["VIEWS", "build_features", "write_features"]

VIEWS = (
    "origin_weather",
    "origin_departures",
    "carrier_lateness",
    "destination_lateness",
    "aircraft_lateness",
    "aircraft_profile",
)
"""The tables that `build_features` makes; each is the source of the feature view of its name."""

_REGISTER_KNOWN = datetime(YEAR, 1, 1, tzinfo=UTC)


def build_features(
    flights: pl.DataFrame, weather: pl.DataFrame, aircraft: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Return one table per feature view: its join key, ``event_timestamp`` and features as Float64.

    A row's ``event_timestamp`` is when its values became known: it depends on nothing that happened later.
    Rows may lie after the last flight: they say what will be known then if no flight follows.

    Args:
        flights: the validated table, as are the others.
        weather: hourly observations.
        aircraft: the register, one row per tail number.
    """
    arrived = closings(flights)
    tables = {
        "origin_weather": origin_weather(weather),
        "origin_departures": origin_departures(flights),
        "carrier_lateness": group_lateness(arrived, "carrier", "carrier").drop("carrier_distance"),
        "destination_lateness": group_lateness(arrived, "dest", "destination"),
        "aircraft_lateness": aircraft_lateness(arrived),
        "aircraft_profile": _aircraft_profile(aircraft),
    }
    return {name: tables[name] for name in VIEWS}


def write_features(project: Project) -> None:
    """Write ``data/features/<view>.parquet`` with what is known at ``data.as_of``.

    Raises:
        DataError: a validated table is missing.
    """
    span = read_span(project.params)
    data = project.root / "data"
    flights, weather, aircraft = (
        read_parquet(data / "clean" / f"{name}.parquet", "validate")
        for name in ("flights", "weather", "aircraft")
    )
    write_outputs(
        {
            data / "features" / f"{name}.parquet": table.filter(pl.col("event_timestamp") <= span.as_of)
            for name, table in build_features(flights, weather, aircraft).items()
        }
    )


def _aircraft_profile(aircraft: pl.DataFrame) -> pl.DataFrame:
    """Return the register's facts; it has no history, so they count as known from the beginning."""
    return aircraft.select(
        "tailnum",
        pl.lit(_REGISTER_KNOWN, dtype=pl.Datetime("us", "UTC")).alias("event_timestamp"),
        aircraft_seats=pl.col("seats").cast(pl.Float64),
        aircraft_age=(YEAR - pl.col("year")).cast(pl.Float64),
    ).sort("tailnum")


if __name__ == "__main__":
    run_stage(write_features)
