"""What sound rows look like. A broken rule sets the row aside; nothing here drops or mends a row.

Not failures: a cancelled flight (it has no outcome), a flight without tail number, an aircraft that is not in
the register, a missing sensor value.
"""

from collections.abc import Callable

import pandera.polars as pa
import polars as pl

__all__ = ["aircraft", "flights", "weather"]

_ORIGINS = ("EWR", "JFK", "LGA")
_MOMENT = pl.Datetime("us", "UTC")
_LONGEST_DELAY = 36 * 60
_FASTEST = 600
"""Miles an hour over ground, averaged over a flight: an airliner with the strongest of tail winds."""


def _rule(name: str, expression: Callable[[], pl.Expr]) -> pa.Check:
    """Return a check on whole rows; a row for which ``expression`` is null passes."""
    return pa.Check(lambda data: data.lazyframe.select(expression()), name=name, error=name)


flights = pa.DataFrameSchema(
    {
        "carrier": pa.Column(pl.String, pa.Check.str_matches(r"^[A-Z0-9]{2}$")),
        "flight": pa.Column(pl.Int32, pa.Check.gt(0)),
        "tailnum": pa.Column(pl.String, pa.Check.str_matches(r"^[A-Z0-9-]{2,8}$"), nullable=True),
        "origin": pa.Column(pl.String, pa.Check.isin(_ORIGINS)),
        "dest": pa.Column(pl.String, pa.Check.str_matches(r"^[A-Z]{3}$")),
        "distance": pa.Column(pl.Int32, pa.Check.in_range(50, 6000)),
        "scheduled_departure": pa.Column(_MOMENT),
        "scheduled_arrival": pa.Column(_MOMENT),
        "departed_at": pa.Column(_MOMENT, nullable=True),
        "dep_delay": pa.Column(pl.Int32, pa.Check.in_range(-60, _LONGEST_DELAY), nullable=True),
        "arrived_at": pa.Column(_MOMENT, nullable=True),
        "arr_delay": pa.Column(pl.Int32, pa.Check.in_range(-120, _LONGEST_DELAY), nullable=True),
        "air_time": pa.Column(pl.Int32, pa.Check.in_range(10, 1000), nullable=True),
    },
    checks=[
        _rule("arrival after departure", lambda: pl.col("arrived_at") > pl.col("departed_at")),
        _rule(
            "no longer in the air than under way",
            lambda: pl.col("arrived_at") - pl.col("departed_at") >= pl.duration(minutes="air_time"),
        ),
        _rule(
            "clock and delay agree on the arrival",
            lambda: (
                (pl.col("arrived_at") - pl.col("scheduled_arrival")).dt.total_minutes() == pl.col("arr_delay")
            ),
        ),
        _rule(
            f"slower than {_FASTEST} miles an hour",
            lambda: pl.col("distance") * 60 < _FASTEST * pl.col("air_time"),
        ),
        _rule(
            "arrived means departed",
            lambda: pl.col("arr_delay").is_null() | pl.col("dep_delay").is_not_null(),
        ),
    ],
    unique=["scheduled_departure", "carrier", "flight", "origin", "dest"],
    strict=True,
)

weather = pa.DataFrameSchema(
    {
        "origin": pa.Column(pl.String, pa.Check.isin(_ORIGINS)),
        "observed_at": pa.Column(_MOMENT),
        "temp": pa.Column(pl.Float64, pa.Check.in_range(-30, 120), nullable=True),
        "dewp": pa.Column(pl.Float64, pa.Check.in_range(-60, 90), nullable=True),
        "humid": pa.Column(pl.Float64, pa.Check.in_range(0, 100), nullable=True),
        "wind_dir": pa.Column(pl.Float64, pa.Check.in_range(0, 360), nullable=True),
        "wind_speed": pa.Column(pl.Float64, pa.Check.in_range(0, 150), nullable=True),
        "wind_gust": pa.Column(pl.Float64, pa.Check.in_range(0, 200), nullable=True),
        "precip": pa.Column(pl.Float64, pa.Check.in_range(0, 5), nullable=True),
        "pressure": pa.Column(pl.Float64, pa.Check.in_range(920, 1090), nullable=True),
        "visib": pa.Column(pl.Float64, pa.Check.in_range(0, 10), nullable=True),
    },
    checks=[
        _rule("dew point at most the temperature", lambda: pl.col("dewp") <= pl.col("temp")),
        _rule("gusts at least as fast as the wind", lambda: pl.col("wind_gust") >= pl.col("wind_speed")),
    ],
    unique=["origin", "observed_at"],
    strict=True,
)

aircraft = pa.DataFrameSchema(
    {
        "tailnum": pa.Column(pl.String, pa.Check.str_matches(r"^[A-Z0-9-]{2,8}$"), unique=True),
        "year": pa.Column(pl.Int32, pa.Check.in_range(1950, 2013), nullable=True),
        "type": pa.Column(pl.String),
        "manufacturer": pa.Column(pl.String),
        "model": pa.Column(pl.String),
        "engines": pa.Column(pl.Int32, pa.Check.in_range(1, 4)),
        # Tail numbers pass from one aircraft to another: the register shows some as two-seaters.
        "seats": pa.Column(pl.Int32, pa.Check.in_range(15, 900)),
        "engine": pa.Column(pl.String),
    },
    strict=True,
)
