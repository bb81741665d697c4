"""Measures a training set of 327,346 flights × 3 feature views with our offline store and Feast's `duckdb`.

Both answer the same call on the same feature definitions and the same files, twice: with values that hold
for hours or days, and with values that hold for a year. Feast's store joins a row with every value that still
holds and then keeps the latest, so its time and memory grow with the TTL; it is cut off at a limit of either,
or given fewer rows with ``--rows``.
"""

import argparse
import os
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import psutil

from benchmarks import children
from pipelines.source import read_flights, read_weather, source_folder

STORES = {"Feast duckdb": "duckdb", "ours": "tidemill.features.offline.PolarsOfflineStore"}
VIEWS = {
    "weather": ("origin", ("temp", "humid", "wind_speed", "precip", "visib"), timedelta(hours=3)),
    "carrier_delay": ("carrier", ("carrier_mean_delay", "carrier_flights"), timedelta(days=2)),
    "aircraft_delay": ("tailnum", ("aircraft_mean_delay", "aircraft_flights"), timedelta(days=28)),
}
TTLS = {"3 hours, 2 days, 28 days": None, "365 days each": timedelta(days=365)}
MOMENT = "event_timestamp"


def prepare(folder: Path) -> int:
    """Write the entity frame and the three sources to ``folder``; return the number of flights."""
    source = source_folder(None, folder)
    flights = read_flights(source).drop_nulls("arr_delay")
    hour = pl.col("time_hour").cast(pl.String).str.to_datetime(time_zone="UTC", time_unit="us")
    flights = flights.with_columns(hour.alias(MOMENT))
    keys = [key for key, _, _ in VIEWS.values()]
    flights.select(*keys, MOMENT, "arr_delay").write_parquet(folder / "entities.parquet")
    weather = read_weather(source).with_columns(hour.alias(MOMENT))
    features = list(VIEWS["weather"][1])
    weather.select("origin", MOMENT, pl.col(features).cast(pl.Float64, strict=False)).write_parquet(
        folder / "weather.parquet"
    )
    day = pl.col(MOMENT).dt.truncate("1d") + pl.duration(days=1)  # known when the day is over
    for view in ("carrier_delay", "aircraft_delay"):
        key, (delay, count), _ = VIEWS[view]
        daily = flights.group_by(key, day).agg(
            pl.col("arr_delay").cast(pl.Float64).mean().alias(delay), pl.len().cast(pl.Float64).alias(count)
        )
        daily.drop_nulls(key).write_parquet(folder / f"{view}.parquet")
    return flights.height


def apply(folder: Path, ttl: timedelta | None) -> None:
    """Make a Feast repository for each store, of the same definitions; ``ttl`` replaces the views' own."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    definitions: list[Entity | FeatureView] = []
    for view, (key, features, own) in VIEWS.items():
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.STRING)
        source = FileSource(path=str(folder / f"{view}.parquet"), timestamp_field=MOMENT)
        schema = [Field(name=feature, dtype=Float64) for feature in features]
        definitions += [
            entity,
            FeatureView(name=view, entities=[entity], schema=schema, source=source, ttl=ttl or own),
        ]
    for store in STORES.values():
        repository = folder / store
        repository.mkdir(exist_ok=True)
        (repository / "feature_store.yaml").write_text(
            "project: flights\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
            f"offline_store:\n  type: {store}\nonline_store:\n  type: sqlite\n  path: online.db\n"
        )
        FeatureStore(repo_path=str(repository)).apply(definitions)


def measure(folder: Path, store: str, rows: int, runs: int) -> None:
    """In a child: ask one store for the training set, ``runs`` times."""
    from feast import FeatureStore

    feast = FeatureStore(repo_path=str(folder / store))
    asked = pd.read_parquet(folder / "entities.parquet").head(rows)
    features = [f"{view}:{feature}" for view, (_, names, _) in VIEWS.items() for feature in names]
    base, times = children.resident(), []
    for _ in range(runs):
        began = time.perf_counter()
        frame = feast.get_historical_features(entity_df=asked, features=features).to_df()
        times.append(time.perf_counter() - began)
        assert len(frame) == len(asked), f"{len(frame)} of {len(asked)} rows came back"
    found = sum(int(frame[name].notna().sum()) for _, names, _ in VIEWS.values() for name in names)
    children.report(first=times[0], median=statistics.median(times), base=base, found=found)


def bare(folder: Path, runs: int) -> None:
    """In a child: join the same files in Polars, without TTL, Feast or anything else; the floor."""
    base, times = children.resident(), []
    for _ in range(runs):
        began = time.perf_counter()
        joined = pl.read_parquet(folder / "entities.parquet").sort(MOMENT)
        for view, (key, _, _) in VIEWS.items():
            history = pl.read_parquet(folder / f"{view}.parquet").sort(MOMENT)
            joined = joined.join_asof(history, on=MOMENT, by=key, check_sortedness=False)
        times.append(time.perf_counter() - began)
    found = sum(joined[name].count() for _, names, _ in VIEWS.values() for name in names)
    children.report(first=times[0], median=statistics.median(times), base=base, found=found)


def main() -> None:
    """Measure both stores in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=None, help="rows for Feast's store (all)")
    parser.add_argument("--runs", type=int, default=5, help="runs of ours (5); Feast's runs once")
    parser.add_argument("--seconds", type=float, default=600, help="cut Feast's store off after (600)")
    parser.add_argument("--gigabytes", type=float, default=None, help="or at (3/4 of what is available)")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, store, rows, runs = options.child
        os.chdir(folder)  # duckdb spills where it stands, and leaves that behind when it is cut off
        if store == "bare":
            bare(Path(folder), int(runs))
        else:
            measure(Path(folder), store, int(rows), int(runs))
        return
    limit = options.gigabytes or psutil.virtual_memory().available / 1e9 * 0.75
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flights = prepare(folder)
        for label, ttl in TTLS.items():
            apply(folder, ttl)
            print(
                f"\n{flights:,} flights x {len(VIEWS)} views, TTL {label}: get_historical_features().to_df()"
            )
            print(
                f"{'':<14}{'rows':>9}{'first s':>9}{'median s':>9}{'base GB':>9}{'peak GB':>9}{'values':>12}"
            )
            compare(folder, flights, options.rows or flights, options.runs, options.seconds, limit)
        child = ["--child", str(folder), "bare", str(flights), str(options.runs)]
        print("\nThe floor: three as-of joins in Polars, without TTL or Feast")
        show("bare Polars", flights, children.run("benchmarks.training_set", child), None)


def compare(folder: Path, flights: int, rows: int, runs: int, seconds: float, gigabytes: float) -> None:
    """Measure Feast's store on ``rows`` rows, ours on as many and on all."""
    theirs = None
    ours = dict.fromkeys((rows, flights))
    for name, size in (("Feast duckdb", rows), *(("ours", size) for size in ours)):
        child = ["--child", str(folder), STORES[name], str(size), str(runs if name == "ours" else 1)]
        outcome = children.run("benchmarks.training_set", child, seconds=seconds, gigabytes=gigabytes)
        show(name, size, outcome, theirs if size == rows else None)
        if name != "ours" and outcome.report:
            theirs = float(outcome.report["first"])


def show(name: str, rows: int, outcome: children.Outcome, theirs: float | None) -> None:
    """Print one line; ``theirs`` is the time that it is compared with."""
    told = outcome.report
    if told is None:
        print(f"{name:<14}{rows:>9,}  {outcome.cut}")
        return
    ratio = "" if theirs is None else f"  {theirs / told['first']:.0f} x as fast"
    print(
        f"{name:<14}{rows:>9,}{told['first']:>9.2f}{told['median']:>9.2f}{told['base']:>9.2f}"
        f"{outcome.peak:>9.2f}{told['found']:>12,}{ratio}"
    )


if __name__ == "__main__":
    children.clean_up_after(main)
