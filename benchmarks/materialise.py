"""Measures `feast.FeatureStore.materialize` of one view, with Feast's own stores and engine and with ours.

Each store is filled twice, empty and full of older values, from the same parquet file by the same offline
store; only the online store and the batch engine differ. Rows are then compared.
"""

import argparse
import cProfile
import io
import pstats
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

from benchmarks.children import clean_up_after

FEATURES = ("late_share_1d", "late_share_7d", "late_share_28d", "delay_1d")
START = datetime(2013, 1, 1, tzinfo=UTC)
OURS = "tidemill.features"
ENGINE = f"batch_engine:\n  type: {OURS}.online.ColumnarComputeEngine\n"


def write_source(path: Path, rows: int, at: datetime) -> None:
    """Write one row for each of ``rows`` keys."""
    random = np.random.default_rng(0)
    keys = random.permutation(rows)
    pl.DataFrame(
        {
            "tailnum": [f"N{key:08d}" for key in keys],
            "event_timestamp": [at] * rows,
            **{name: random.normal(size=rows) for name in FEATURES},
        }
    ).write_parquet(path)


def open_store(folder: Path, online: str, engine: str) -> FeatureStore:
    """Open and apply a repository of its own over the shared source."""
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(
        "project: speed\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        f"offline_store:\n  type: {OURS}.offline.PolarsOfflineStore\nonline_store:\n{online}{engine}"
    )
    store = FeatureStore(repo_path=str(folder))
    aircraft = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING)
    view = FeatureView(
        name="lateness",
        entities=[aircraft],
        ttl=timedelta(days=2),
        schema=[Field(name=name, dtype=Float64) for name in FEATURES],
        source=FileSource(path=str(folder.parent / "source.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([aircraft, view])
    return store


def materialise(store: FeatureStore, end: datetime) -> float:
    """Time what ``feast materialize`` does."""
    began = time.perf_counter()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        store.materialize(START - timedelta(days=1), end)
    return time.perf_counter() - began


def sample(store: FeatureStore, rows: int) -> dict[str, list[object]]:
    """Read some keys back through Feast."""
    keys = [{"tailnum": f"N{key:08d}"} for key in np.linspace(0, rows - 1, 200, dtype=int)]
    found: dict[str, list[object]] = store.get_online_features(
        features=[f"lateness:{name}" for name in FEATURES], entity_rows=keys
    ).to_dict()
    return found


@contextmanager
def redis_server(folder: Path) -> Iterator[str | None]:
    """Start a Redis of our own on a free port; none where there is no redis-server."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def profile(store: FeatureStore, end: datetime) -> None:
    """Show where the time goes."""
    profiler = cProfile.Profile()
    profiler.runcall(materialise, store, end)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def compare(folder: Path, name: str, stores: dict[str, tuple[str, str]], rows: int, detail: bool) -> None:
    """Fill each store, empty and then full, and print the ratios."""
    opened = {label: open_store(folder / f"{name}_{i}", *s) for i, (label, s) in enumerate(stores.items())}
    for round_, state in enumerate(("empty", "full of older values")):
        write_source(folder / "source.parquet", rows, START + timedelta(hours=round_))
        spent = {label: materialise(store, START + timedelta(days=1)) for label, store in opened.items()}
        answers = [sample(store, rows) for store in opened.values()]
        assert answers[0] == answers[1], "the stores differ"
        baseline = next(iter(spent.values()))
        for label, seconds in spent.items():
            speed, ratio = rows / seconds, baseline / seconds
            print(f"{name:<8}{state:<22}{label:<34}{seconds:>9.1f}{speed:>12,.0f}{ratio:>8.1f}")
    if detail:
        for label, store in opened.items():
            print(f"\n{name}, {label}:")
            profile(store, START + timedelta(days=1))


def main() -> None:
    """Run both, in turn, for SQLite and Redis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="keys (default: 1,000,000)")
    parser.add_argument(
        "--profile", action="store_true", help="show where the time goes (on top of the table)"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{arguments.rows:,} keys, one view of {len(FEATURES)} Float64 features; seconds for all of it")
    print(f"{'':<8}{'online store':<22}{'':<34}{'seconds':>9}{'rows/s':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name)) as redis:
        folder = Path(name)
        sqlite = {
            "Feast's store and engine": ("  type: sqlite\n  path: online.db\n", ""),
            "ours": (f"  type: {OURS}.online.SqliteOnlineStore\n  path: online.db\n", ENGINE),
        }
        compare(folder, "SQLite", sqlite, arguments.rows, arguments.profile)
        if redis is None:
            print("Redis: skipped, there is no redis-server (on Debian: apt-get install redis-server)")
            return
        own = f"  type: {OURS}.online.RedisOnlineStore\n"
        addresses = [f"  connection_string: {redis},db={number}\n" for number in range(2)]
        compare(
            folder,
            "Redis",
            {
                "Feast's store and engine": (f"  type: redis\n{addresses[0]}", ""),
                "ours": (f"{own}{addresses[1]}", ENGINE),
            },
            arguments.rows,
            arguments.profile,
        )


if __name__ == "__main__":
    clean_up_after(main)
