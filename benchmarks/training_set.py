"""The point-in-time join of all flights of 2013 through Feast on our offline store, beside bare Polars."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from pipelines.features import VIEWS, write_features
from pipelines.flights import flights_to_predict
from pipelines.ingest import ingest
from pipelines.validate import validate_tables
from tidemill.data.params import set_values
from tidemill.features.store import apply, open_store, training_frame
from tidemill.project import Project, load_project
from tidemill.project.scaffold import copy_project, reference_project

RUNS = 5


def prepare(folder: Path) -> Project:
    """Write the feature sources of the whole year."""
    copy_project(reference_project(), folder)
    params = folder / "params.yaml"
    params.write_text(set_values(params.read_text(), {"data.last_month": "2013-12"}))
    project = load_project(folder)
    for stage in (ingest, validate_tables, write_features):
        stage(project)
    apply(project)
    return project


def bare(project: Project, entities: pl.DataFrame) -> pl.DataFrame:
    """Join each view's file by key and time, without TTL, on-demand view or any other of Feast's services."""
    joined = entities.sort("event_timestamp")
    for view in open_store(project).list_batch_feature_views():
        history = pl.read_parquet(project.root / "data" / "features" / f"{view.name}.parquet")
        joined = joined.join_asof(
            history.sort("event_timestamp"),
            on="event_timestamp",
            by=list(view.join_keys),
            check_sortedness=False,
        )
    return joined


def seconds(call: Callable[[], object]) -> float:
    """Time one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Run both in turn, RUNS times, and print medians."""
    with tempfile.TemporaryDirectory() as folder:
        project = prepare(Path(folder) / "flights")
        entities = flights_to_predict(pl.read_parquet(project.root / "data" / "clean" / "flights.parquet"))
        names = [
            *(key for key in ("carrier", "origin", "dest", "tailnum")),
            "event_timestamp",
            "scheduled_departure",
        ]
        entities = entities.select(names)
        spent: dict[str, list[float]] = {"bare Polars join": [], "Feast with our offline store": []}
        for _ in range(RUNS):
            spent["bare Polars join"].append(seconds(lambda: bare(project, entities)))
            spent["Feast with our offline store"].append(seconds(lambda: training_frame(project, entities)))
    floor = statistics.median(spent["bare Polars join"])
    print(f"{entities.height:,} flights x {len(VIEWS)} views, and the on-demand view in the second row")
    print(f"{'':<30}{'median s':>10}{'ratio':>8}")
    for name, times in spent.items():
        print(f"{name:<30}{statistics.median(times):>10.2f}{statistics.median(times) / floor:>8.1f}")


if __name__ == "__main__":
    main()
