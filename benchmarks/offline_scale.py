"""Measures how time and memory of a training set grow: 0.1, 1 and 10 million entity rows × 5 views.

Through Feast on our offline store, from a pandas entity frame to a parquet file (``persist``). Two of the
views have a history of 20 million rows each, or as many as ``--history`` says; all is drawn from seeds.
"""

import argparse
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import children

YEAR = 365 * 86_400
BEGIN = 1_577_836_800  # 2020-01-01
USERS, ITEMS, SITES = 1_000_000, 200_000, 1_000
CHUNK = 1_000_000
VIEWS = {  # name: (keys, TTL, has a created timestamp)
    "clicks": (("user",), timedelta(days=30), False),
    "sales": (("item",), timedelta(days=7), True),
    "profile": (("user",), timedelta(0), False),
    "prices": (("item", "site"), timedelta(days=90), False),
    "weather": (("site",), timedelta(hours=6), False),
}
SIZES = {"user": USERS, "item": ITEMS, "site": SITES}


def write_history(folder: Path, view: str, rows: int, seed: int) -> None:
    """Write the source of one view, in the order of time as a log is, chunk by chunk."""
    keys, _, created = VIEWS[view]
    rng = np.random.default_rng(seed)
    chunks = -(-rows // CHUNK)
    writer = None
    for chunk in range(chunks):
        size = min(CHUNK, rows - chunk * CHUNK)
        moments = np.sort(rng.integers(chunk * YEAR // chunks, (chunk + 1) * YEAR // chunks, size))
        columns = {key: draw(rng, key, size) for key in keys}
        columns["event_timestamp"] = stamps(moments)
        if created:
            columns["created"] = stamps(moments + rng.integers(0, 3600, size))
        columns |= {f"{view}_{name}": rng.random(size) for name in "abc"}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(folder / f"{view}.parquet", table.schema)
        writer.write_table(table, row_group_size=250_000)
    assert writer is not None
    writer.close()


def stamps(seconds: np.ndarray) -> pa.Array:
    """Return moments ``seconds`` after the beginning."""
    return pa.array((BEGIN + seconds) * 1_000_000, pa.timestamp("us", tz="UTC"))


def draw(rng: np.random.Generator, key: str, size: int) -> np.ndarray:
    """Draw keys: numbers, but sites are text."""
    numbers = rng.integers(0, SIZES[key], size)
    if key == "site":
        return np.array([f"site-{number:04d}" for number in range(SITES)], dtype=object)[numbers]
    return numbers


def apply(folder: Path) -> None:
    """Make the Feast repository."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    text, number = ValueType.STRING, ValueType.INT64
    entities = {
        key: Entity(name=key, join_keys=[key], value_type=text if key == "site" else number) for key in SIZES
    }
    views = [
        FeatureView(
            name=view,
            entities=[entities[key] for key in keys],
            schema=[Field(name=f"{view}_{name}", dtype=Float64) for name in "abc"],
            source=FileSource(
                path=str(folder / f"{view}.parquet"),
                timestamp_field="event_timestamp",
                created_timestamp_column="created" if created else "",
            ),
            ttl=ttl,
        )
        for view, (keys, ttl, created) in VIEWS.items()
    ]
    (folder / "feature_store.yaml").write_text(
        "project: scale\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store:\n  type: tidemill.features.offline.PolarsOfflineStore\n"
        "online_store:\n  type: sqlite\n  path: online.db\n"
    )
    FeatureStore(repo_path=str(folder)).apply([*entities.values(), *views])


def measure(folder: Path, rows: int) -> None:
    """In a child: ask for ``rows`` rows and write them to a file."""
    from feast import FeatureStore
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    store = FeatureStore(repo_path=str(folder))
    imported = children.resident()
    rng = np.random.default_rng(7)
    moments = pd.to_datetime((BEGIN + rng.integers(0, YEAR, rows)) * 1_000_000, unit="us", utc=True)
    asked = pd.DataFrame(
        {"event_timestamp": moments.as_unit("us"), **{key: draw(rng, key, rows) for key in SIZES}}
    )
    frame = children.resident()
    features = [f"{view}:{view}_{name}" for view in VIEWS for name in "abc"]
    path = folder / "result.parquet"
    began = time.perf_counter()
    job = store.get_historical_features(entity_df=asked, features=features)
    job.persist(SavedDatasetFileStorage(path=str(path)), allow_overwrite=True)
    took = time.perf_counter() - began
    assert pq.read_metadata(path).num_rows == rows
    children.report(took=took, imported=imported, frame=frame, written=path.stat().st_size / 1e9)
    path.unlink()


def main() -> None:
    """Write the histories once, measure each number of rows in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, nargs="*", default=[0.1, 1, 10], help="millions (0.1 1 10)")
    parser.add_argument("--history", type=float, default=20, help="millions of rows of two histories (20)")
    parser.add_argument("--folder", type=Path, default=None, help="where to write: 6 GB at 100 (TMPDIR)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(Path(options.child[0]), int(options.child[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        folder = Path(temporary)
        millions = {"clicks": options.history, "sales": options.history, "profile": 1, "prices": 2}
        for seed, view in enumerate(VIEWS):
            write_history(folder, view, int(millions.get(view, 4) * 1_000_000), seed)
        apply(folder)
        size = sum(path.stat().st_size for path in folder.glob("*.parquet")) / 1e9
        print(
            f"5 views x 3 features, histories of {options.history:g}M, {options.history:g}M, 1M, 2M, 4M rows"
        )
        print(f"({size:.1f} GB of parquet), entity frame in pandas, result persisted to parquet")
        heads = ("s", "rows/s", "x rows", "x s", "imports GB", "+ frame GB", "peak GB", "file GB")
        print(f"{'rows':>12}" + "".join(f"{head:>12}" for head in heads))
        before: tuple[int, float] | None = None
        for rows in (int(each * 1_000_000) for each in options.rows):
            outcome = children.run("benchmarks.offline_scale", ["--child", str(folder), str(rows)])
            told = outcome.report
            if told is None:
                print(f"{rows:>12,}  {outcome.cut}")
                continue
            took = told["took"]
            grown = (f"{rows / before[0]:.0f}", f"{took / before[1]:.1f}") if before else ("", "")
            before = (rows, took)
            cells = (f"{took:.1f}", f"{rows / took:,.0f}", *grown)
            sizes = (told["imported"], told["frame"], outcome.peak, told["written"])
            print(
                f"{rows:>12,}" + "".join(f"{each:>12}" for each in (*cells, *(f"{gb:.2f}" for gb in sizes)))
            )


if __name__ == "__main__":
    children.clean_up_after(main)
