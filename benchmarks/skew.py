"""Measures time and memory of the skew monitor on a log of flights with 29 features.

The log holds what the reference project's predictor would write, personal keys hidden. Served is what
training would see; in the second log, from October on, the weather is that of two hours before.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from benchmarks import children
from pipelines.features import write_features
from pipelines.flights import KEYS, flights_to_predict
from pipelines.ingest import ingest
from pipelines.validate import validate_tables
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.versioning.params_file import set_values
from tidemill.features.feature_store import apply, open_store, service_features, training_frame
from tidemill.features.skew.feature_sources import trace_origins
from tidemill.prediction_log.prediction_log import PredictionLog, PredictionRecord
from tidemill.project import Project, load_project
from tidemill.project.scaffold import copy_project, reference_project
from tidemill.training.tracking.mlflow_tracking import connect

ROWS = (10_000, 100_000, 1_000_000)
AUTUMN = datetime(2013, 10, 1, tzinfo=UTC)
LAG = timedelta(hours=2)


def prepare(folder: Path) -> Project:
    """Make the reference project with the features of the whole year."""
    copy_project(reference_project(), folder)
    params = folder / "params.yaml"
    params.write_text(set_values(params.read_text(), {"data.last_month": "2013-12"}))
    project = load_project(folder)
    for stage in (ingest, validate_tables, write_features):
        stage(project)
    apply(project)
    connect(project)  # makes MLflow's tables, which the guard asks for the versions' definitions
    return project


def fill_log(project: Project, rows: int, stale: bool) -> None:
    """Log ``rows`` predictions, drawn from all flights of the year, in the order of their moments."""
    flights = flights_to_predict(pl.read_parquet(project.root / "data" / "clean" / "flights.parquet"))
    asked = flights.select(*KEYS, "scheduled_departure", "event_timestamp")
    asked = asked.sample(rows, with_replacement=rows > asked.height, seed=0).sort("event_timestamp")
    served = _served(project, asked, stale)
    hide = Pseudonymiser(load_key(project))
    hidden = asked.with_columns(hide.hide_series(asked["tailnum"]).alias("tailnum"))
    names = service_features(project)
    log = PredictionLog(project.predictions, project.model)
    for start in range(0, rows, 50_000):
        keys = hidden[start : start + 50_000].drop("event_timestamp").to_dicts()
        moments = asked["event_timestamp"][start : start + 50_000]
        features = served[start : start + 50_000].select(names).to_dicts()
        log.append(
            [
                PredictionRecord(
                    f"pred_{start + index}",
                    project.model,
                    "1",
                    at,
                    at,
                    "r1",
                    key,
                    values,
                    0.2,
                    {"risk": "low"},
                    keys=key,
                )
                for index, (key, at, values) in enumerate(zip(keys, moments, features, strict=True))
            ]
        )
    log.close()


def _served(project: Project, asked: pl.DataFrame, stale: bool) -> pl.DataFrame:
    frames = [training_frame(project, part) for part in asked.iter_slices(100_000)]
    served = pl.concat(frames)
    if not stale:
        return served
    store = open_store(project)
    origins = trace_origins(store, store.get_feature_service(project.feature_service))
    weather = next(source for source in origins.sources if source.name == "origin_weather").features
    lag = pl.when(pl.col("event_timestamp") >= AUTUMN).then(pl.lit(LAG)).otherwise(pl.lit(timedelta(0)))
    before = asked.with_columns(event_timestamp=pl.col("event_timestamp") - lag)
    earlier = pl.concat([training_frame(project, part) for part in before.iter_slices(100_000)])
    return served.with_columns(earlier[name] for name in weather)


def measure(folder: Path) -> None:
    """Compare all that is logged, and print what the parent reads."""
    from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew

    project = load_project(folder)
    before = children.resident()
    whole = LogSlice(datetime(2012, 12, 1, tzinfo=UTC), datetime(2014, 2, 1, tzinfo=UTC))
    found = measure_skew(project, whole, threshold=0.01)
    causes = sorted({cause.name for each in found.features for cause in each.causes})
    children.report(
        seconds=found.seconds,
        before=before,
        predictions=found.predictions,
        skewed=len(found.skewed),
        causes=", ".join(causes),
    )


def main() -> None:
    """Fill each log, compare it in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="predictions in the log")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    print(
        f"{'predictions':>12}  {'log':<20}{'seconds':>8}{'per 1M':>8}{'peak GB':>9}{'imports GB':>11}  found"
    )
    for rows in options.rows:
        for name, stale in (("as in training", False), ("weather 2 h behind", True)):
            with tempfile.TemporaryDirectory() as folder:
                project = prepare(Path(folder) / "flights")
                fill_log(project, rows, stale)
                outcome = children.run("benchmarks.skew", ["--measure", str(project.root)])
            told = outcome.report
            if told is None:
                print(f"{rows:>12,}  {name:<20}{outcome.cut}")
                continue
            print(
                f"{told['predictions']:>12,}  {name:<20}{told['seconds']:>8.1f}"
                f"{told['seconds'] / rows * 1e6:>8.0f}{outcome.peak:>9.2f}{told['before']:>11.2f}  "
                f"{told['skewed']} features {told['causes']}"
            )


if __name__ == "__main__":
    children.clean_up_after(main)
