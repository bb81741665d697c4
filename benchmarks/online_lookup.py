"""Measures the lookup of one flight: 29 features of 6 views, uncached, by our reader on each store.

The baseline is Feast's own way, `feast.FeatureStore.get_online_features` on its own SQLite store.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.children import clean_up_after
from benchmarks.materialise import OURS, redis_server
from pipelines.features import write_features
from pipelines.flights import flights_to_predict
from pipelines.ingest import ingest
from pipelines.validate import validate_tables
from tidemill.data.versioning.params_file import set_values
from tidemill.features.feature_store import apply, materialise, open_store
from tidemill.features.online.online_features import OnlineFeatures
from tidemill.project import Project, load_project
from tidemill.project.scaffold import copy_project, reference_project

RUNS, LOOKUPS = 5, 400
STOCK = "  type: sqlite\n  path: online_store/stock.db\n"
SQLITE = f"  type: {OURS}.online.SqliteOnlineStore\n  path: online_store/online.db\n"
REDIS = f"  type: {OURS}.online.RedisOnlineStore\n  connection_string: "


def prepare(folder: Path) -> tuple[Project, list[dict[str, Any]]]:
    """Write the feature sources of January, and return flights of its last week."""
    copy_project(reference_project(), folder)
    params = folder / "params.yaml"
    params.write_text(set_values(params.read_text(), {"data.last_month": "2013-01"}))
    project = load_project(folder)
    for stage in (ingest, validate_tables, write_features):
        stage(project)
    flights = flights_to_predict(pl.read_parquet(project.root / "data" / "clean" / "flights.parquet"))
    known = flights.drop_nulls("tailnum")  # at a key that is null Feast fails
    return project, known.sort("event_timestamp").tail(LOOKUPS).to_dicts()


def lookups(project: Project, online: str, rows: list[dict[str, Any]]) -> tuple[Callable[[], None], ...]:
    """Fill a store, and return two ways to look all ``rows`` up, one by one: ours, and Feast's."""
    path = project.root / "feature_repo" / "feature_store.yaml"
    head, rest = path.read_text().split("online_store:\n")
    path.write_text(f"{head}online_store:\n{online}offline_store:" + rest.split("offline_store:")[1])
    apply(project)
    at = rows[-1]["event_timestamp"] + timedelta(minutes=1)
    materialise(project, at)
    store = open_store(project)
    service = store.get_feature_service(project.feature_service)
    reader = OnlineFeatures(store, service)
    keys = ("carrier", "origin", "dest", "tailnum", "scheduled_departure")

    def ours() -> None:
        for row in rows:
            reader.read([row], [at])

    def feast() -> None:
        for row in rows:
            store.get_online_features(service, [{key: row[key] for key in keys}]).to_dict()

    return ours, feast


def seconds(call: Callable[[], None]) -> float:
    """Time one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Run all in turn, RUNS times, and print medians."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis:
        project, rows = prepare(Path(name) / "flights")
        stock, feast = lookups(project, STOCK, rows)
        ways = {
            "get_online_features, Feast's SQLite": feast,
            "OnlineFeatures, Feast's SQLite": stock,
            "OnlineFeatures, our SQLite": lookups(project, SQLITE, rows)[0],
        }
        if redis:
            ways["OnlineFeatures, our Redis"] = lookups(project, f"{REDIS}{redis}\n", rows)[0]
        else:
            print("Redis: skipped, there is no redis-server (on Debian: apt-get install redis-server)")
        spent: dict[str, list[float]] = {label: [] for label in ways}
        for _ in range(RUNS):
            for label, way in ways.items():
                spent[label].append(seconds(way) / LOOKUPS * 1e6)
    baseline = statistics.median(next(iter(spent.values())))
    print(f"{'':<38}{'median µs':>10}{'ratio':>8}")
    for label, times in spent.items():
        median = statistics.median(times)
        print(f"{label:<38}{median:>10.0f}{baseline / median:>8.1f}")


if __name__ == "__main__":
    clean_up_after(main)
