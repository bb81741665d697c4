"""Measures rows a second of ``tidemill score``, a bare onnxruntime loop and plain Ray Data on one file.

``python -m benchmarks.batch_scoring`` writes 16 million rows × 29 features (4 GB) into a temporary folder,
trains a gradient-boosted model of 100 trees, registers it, and scores the file, each way in its own process:

- bare: ``pyarrow`` reads batches, ``onnxruntime`` runs them, ``pyarrow`` writes id and probability; with
  onnxruntime's own choice of threads and with one thread. The faster one counts.
- Ray Data, plain: ``read_parquet``, ``map_batches`` with an actor for each CPU, ``write_parquet``.
- ours on Ray Data and in one process, features as given: ids, flags and a manifest included.

With ``--keys ROWS`` also ours with 29 features of three views, looked up by key and moment (offline store).
"Without start" begins when the first worker could: after imports, loading the model, and starting Ray.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.children import clean_up_after

if TYPE_CHECKING:
    from tidemill.project import Project

FEATURES = tuple(f"f{n:02d}" for n in range(29))
VIEWS = {"a": FEATURES[:10], "b": FEATURES[10:20], "c": FEATURES[20:]}
GROUP = 250_000
BATCH = 65_536
START = datetime(2013, 1, 1, tzinfo=UTC)

_DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

VIEWS = {views!r}
views = []
for name, features in VIEWS.items():
    entity = Entity(name=name, join_keys=[f"key_{{name}}"], value_type=ValueType.INT64)
    globals()[name] = entity
    view = FeatureView(
        name=f"view_{{name}}", entities=[entity], ttl=timedelta(days=2),
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(path=f"../data/{{name}}.parquet", timestamp_field="event_timestamp"),
    )
    globals()[f"view_{{name}}"] = view
    views.append(view)
service = FeatureService(name="bench", features=views)
"""
_STORE = """
project: bench
provider: local
registry: ../.tidemill/registry.db
online_store: {type: tidemill.features.online.SqliteOnlineStore, path: ../.tidemill/online.db}
offline_store: {type: tidemill.features.offline.PolarsOfflineStore}
entity_key_serialization_version: 3
"""
_PARAMS = """
project: {name: bench, model: bench, training: bench_app:spec, application: bench_app:application}
dataset: {path: data/none.parquet, label: late}
features: {service: bench}
"""
_APPLICATION = """
from pydantic import BaseModel
from tidemill.serving.inference.application import Application

class Row(BaseModel):
    nothing_like_this: str

application = Application(request=Row, feature_row=lambda row: {}, decide=lambda row, score: {})
"""


def make_project(root: Path) -> Path:
    """Write a project with a registered, compiled model; return the compiled model's file."""
    from tidemill.features.feature_store import apply
    from tidemill.project import load_project
    from tidemill.registry.versions.model_versions import load_scorer
    from tidemill.registry.versions.new_versions import register

    _write_files(root)
    project = load_project(root)
    apply(project)
    register(project, _log_run(project))
    scorer = load_scorer(project, "1")
    print(f"the version is run by {scorer.kind}" + (f": {scorer.reason}" if scorer.reason else ""))
    if scorer.kind != "onnx":
        raise SystemExit("without a compiled model there is nothing to compare with")
    return next((root / ".tidemill").rglob("compiled/model.onnx"))


def _write_files(root: Path) -> None:
    for folder in ("feature_repo", "data"):
        (root / folder).mkdir(parents=True)
    (root / "params.yaml").write_text(_PARAMS)
    (root / "bench_app.py").write_text(_APPLICATION)
    (root / "feature_repo" / "feature_store.yaml").write_text(_STORE)
    (root / "feature_repo" / "bench_views.py").write_text(_DEFINITIONS.format(views=VIEWS))
    rng = np.random.default_rng(0)
    for name, features in VIEWS.items():
        keys, hours = 500, 24 * 30
        pl.DataFrame(
            {
                f"key_{name}": np.repeat(np.arange(keys), hours),
                "event_timestamp": [START + timedelta(hours=hour) for hour in range(hours)] * keys,
                **{feature: rng.normal(size=keys * hours) for feature in features},
            }
        ).write_parquet(root / "data" / f"{name}.parquet")


def _log_run(project: "Project") -> str:
    """Fit a model of 100 trees on random rows, and log it as a training does; return the run's id."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from tidemill.tasks.binary import Binary
    from tidemill.training.fitting.packaging import log_model, trusted_types
    from tidemill.training.splits import Period, Split
    from tidemill.training.tracking.mlflow_tracking import connect, experiment_id
    from tidemill.training.tracking.run_lineage import Lineage
    from tidemill.training.tracking.training_record import log_lineage, log_summary
    from tidemill.training.tracking.training_result import TrainedModel

    rng = np.random.default_rng(1)
    frame = pl.DataFrame({name: rng.normal(size=50_000) for name in FEATURES}).to_pandas()
    label = frame["f00"] + frame["f01"] * frame["f02"] + rng.normal(size=50_000) > 0
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False).fit(frame, label)
    trusted = trusted_types(model, ())
    client = connect(project)
    run = client.create_run(experiment_id(client, project)).info.run_id
    uri = log_model(
        client,
        run_id=run,
        name="m",
        estimator=model,
        task=Binary("roc_auc"),
        example=frame[:500],
        trusted=trusted,
    ).uri
    trained = TrainedModel(run, uri, {}, 1, 0, "trees", {}, features=FEATURES, trusted_types=tuple(trusted))
    days = [START + timedelta(days=number) for number in range(4)]
    split = Split(*(Period(days[n], days[n + 1]) for n in range(3)))
    log_lineage(client, run, Lineage("0" * 40, {}, "bench", "0", split, START))
    log_summary(client, run, trained)
    client.set_terminated(run)
    return run


def write_input(path: Path, rows: int) -> None:
    """Write the features as columns, beside an id."""
    rng = np.random.default_rng(1)
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in FEATURES)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, GROUP):
            count = min(GROUP, rows - start)
            columns = {name: rng.normal(size=count) for name in FEATURES}
            writer.write_table(pa.table({"id": np.arange(start, start + count), **columns}))


def write_keys(path: Path, rows: int) -> None:
    """Write keys and moments."""
    rng = np.random.default_rng(2)
    seconds = rng.integers(86_400, 86_400 * 30, rows)
    moments = np.datetime64("2013-01-01T00:00:00", "us") + seconds.astype("timedelta64[s]")
    columns = {f"key_{name}": rng.integers(0, 500, rows) for name in VIEWS}
    pq.write_table(pa.table({**columns, "event_timestamp": moments}), path, row_group_size=GROUP)


def bare(model: str, source: str, target: str, threads: str) -> dict[str, float]:
    """Read, run, write: nothing else."""
    began = time.perf_counter()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed, output = session.get_inputs()[0].name, [session.get_outputs()[0].name]
    ready = time.perf_counter()
    schema = pa.schema([("id", pa.int64()), ("probability", pa.float64())])
    with pq.ParquetWriter(target, schema) as writer:
        for batch in pq.ParquetFile(source).iter_batches(BATCH):
            rows = np.column_stack([batch.column(name).to_numpy() for name in FEATURES])
            scores = session.run(output, {feed: rows})[0].reshape(-1)
            writer.write_table(pa.table({"id": batch.column("id"), "probability": scores}, schema))
    return {"all": time.perf_counter() - began, "work": time.perf_counter() - ready}


class PlainActor:
    """What one writes down first for Ray Data."""

    def __init__(self, model: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Score a batch."""
        rows = np.column_stack([batch[name] for name in FEATURES])
        feed, output = self._session.get_inputs()[0].name, [self._session.get_outputs()[0].name]
        return {"id": batch["id"], "probability": self._session.run(output, {feed: rows})[0].reshape(-1)}


def plain_ray(model: str, source: str, target: str) -> dict[str, float]:
    """Let Ray Data read, run and write."""
    began = time.perf_counter()
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    ray.data.DataContext.get_current().enable_progress_bars = False
    ready = time.perf_counter()
    count = int(ray.cluster_resources()["CPU"])
    ray.data.read_parquet(source).map_batches(
        PlainActor, batch_size=BATCH, concurrency=count, fn_constructor_args=(model,), num_cpus=0.5
    ).write_parquet(target)
    found = {"all": time.perf_counter() - began, "work": time.perf_counter() - ready}
    ray.shutdown()
    return found


def ours(root: str, source: str, target: str, workers: str, features: str) -> dict[str, float]:
    """Score as ``tidemill score`` does."""
    began = time.perf_counter()
    from tidemill.project import load_project
    from tidemill.scoring.score import score
    from tidemill.scoring.scoring_job import ScoreRequest

    ready = [began]

    def tell(step: str, message: str, done: int | None, total: int | None) -> None:
        if step == "scoring" and message.endswith("parts"):
            ready[0] = time.perf_counter()

    request = ScoreRequest((source,), target, "1", features, workers=int(workers))
    outcome = score(load_project(Path(root)), request, tell)
    assert outcome.manifest["rejected"] == 0
    return {"all": time.perf_counter() - began, "work": time.perf_counter() - ready[0]}


def measured(name: str, *arguments: str) -> dict[str, float]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.batch_scoring", "--only", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write the input, score it each way in turn, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", type=int, nargs="?", default=16_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keys", type=int, default=0, metavar="ROWS")
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        name, *arguments = options.only
        print(json.dumps(globals()[name](*arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        compare(Path(folder), options.rows, options.repeat, options.workers, options.keys)


def compare(folder: Path, rows: int, repeat: int, workers: int, keys: int) -> None:
    """Print a line for each way."""
    root, source, target = folder / "project", str(folder / "in.parquet"), folder / "out"
    model = str(make_project(root))
    write_input(Path(source), rows)
    ways = {
        "bare loop, threads by default": ("bare", model, source, str(target), "0"),
        "bare loop, 1 thread": ("bare", model, source, str(target), "1"),
        "Ray Data, plain": ("plain_ray", model, source, str(target)),
        f"ours on Ray, {workers} workers": ("ours", str(root), source, str(target), str(workers), "columns"),
        "ours, one process": ("ours", str(root), source, str(target), "0", "columns"),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, (way, *arguments) in ways.items():
            found[name].append(measured(way, *arguments))
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    speeds = {
        name: {kind: rows / median(run[kind] for run in runs) for kind in ("all", "work")}
        for name, runs in found.items()
    }
    floor = max(speed["all"] for name, speed in speeds.items() if name.startswith("bare"))
    print(f"{rows:,} rows × {len(FEATURES)} features; medians of {repeat}")
    print(f"{'':<34}{'rows/s':>12}{'of bare':>9}{'without start':>15}{'of bare':>9}")
    for name, speed in speeds.items():
        all_, work = speed["all"], speed["work"]
        print(f"{name:<34}{all_:>12,.0f}{all_ / floor:>9.2f}{work:>15,.0f}{work / floor:>9.2f}")
    if keys:
        source = str(folder / "keys.parquet")
        write_keys(Path(source), keys)
        run = measured("ours", str(root), source, str(target), "0", "keys")
        print(
            f"{'ours, 3 views by key and moment':<34}{keys / run['all']:>12,.0f}{keys / run['work']:>24,.0f}"
        )


if __name__ == "__main__":
    clean_up_after(main)
