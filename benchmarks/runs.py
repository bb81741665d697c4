"""Measures what tagging costs a plain MLflow run, the list of 10,000 runs, and a diff of two.

The two have 1,000 values each, and data of 10 million rows: numbers, a text of few values, one of thousands.
Commands are told by the clock and by the CPU: on a busy machine only the latter counts.

The project is made and removed; ``--runs N``, ``--tagged N`` and ``--rows N`` for other numbers.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.children import clean_up_after

PARAMS = (
    "project: {name: parcels, model: parcel-delay}\n"
    "dataset: {path: t.parquet, label: late}\nfeatures: {from: request}\n"
)
MEASURE_TAGS = """
import sys, time
from tidemill.training.tracking.origins.run_context import ProjectRunContext
import mlflow
provider, seconds = ProjectRunContext(), []
for _ in range(int(sys.argv[1])):
    begin = time.perf_counter()
    assert provider.in_context()
    tags = provider.tags()
    seconds.append(time.perf_counter() - begin)
assert "tidemill_origin.problem" not in tags, tags
print(*seconds)
"""


def main() -> None:
    """Print the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--tagged", type=int, default=30)
    parser.add_argument("--rows", type=int, default=10_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root)
        for files in (0, 3):
            for number in range(files):
                (root / f"pipelines/new_{number}.py").write_text("A = 1\n" * 100)
                (root / f"pipelines/old_{number}.py").write_text("A = 2\n" * 100)
            line = [sys.executable, "-c", MEASURE_TAGS, str(given.tagged)]
            out = subprocess.run(line, cwd=root, check=True, capture_output=True, text=True).stdout
            first, *others = (1000 * float(one) for one in out.split())
            print(
                f"tags, {2 * files} uncommitted files: {statistics.median(others):.1f} ms a run, "
                f"at most {max(others):.1f} ms; the first of a process {first:.1f} ms"
            )
        ids = record_runs(root, given.runs)
        rows = keep_summaries(root, ids, given.rows)
        ours = [sys.executable, "-m", "tidemill.cli.main", "runs"]
        timed("python -c 'import typer'", [sys.executable, "-c", "import typer"], root)
        timed(f"runs list, {given.runs:,}", [*ours, "list", "--limit", str(given.runs), "--json"], root)
        timed("runs list", [*ours, "list"], root)
        diff = subprocess.run([*ours, "diff", *ids, "--json"], cwd=root, check=True, capture_output=True)
        assert len(json.loads(diff.stdout)["columns"]) == 8
        timed(f"runs diff, 1,000 values, {rows} rows", [*ours, "diff", *ids, "--json"], root)
        timed("runs diff as text", [*ours, "diff", *ids], root)


def make_project(root: Path) -> None:
    """Make a git repository of 200 files of code, and data of 20 outputs."""
    (root / "params.yaml").write_text(PARAMS)
    (root / ".gitignore").write_text(".tidemill\n")
    (root / "pipelines").mkdir()
    for number in range(200):
        (root / f"pipelines/old_{number}.py").write_text("A = 1\n" * 100)
    stages = "".join(
        f"  s{n}:\n    cmd: x\n    outs:\n    - {{path: data/{n}.parquet, md5: {n:032x}, size: 1}}\n"
        for n in range(20)
    )
    (root / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n{stages}")
    (root / "requirements.lock").write_text("a==1\n" * 5000)
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "First"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)


def record_runs(root: Path, count: int) -> list[str]:
    """Record runs in the project's store by its tables, two of them with 1,000 parameters and metrics."""
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import create_engine, insert

    from tidemill.project import load_project
    from tidemill.training.tracking.mlflow_tracking import connect, experiment_id

    project = load_project(root)
    experiment = int(experiment_id(connect(project), project))
    now = int(time.time() * 1000)
    ids = [f"{number:08x}".ljust(32, "0") for number in range(count)]
    runs, tags, metrics, params = [], [], [], []
    for number, run_id in enumerate(ids):
        runs.append({
            "run_uuid": run_id, "name": f"run {number}", "status": "FINISHED", "lifecycle_stage": "active",
            "start_time": now + number, "end_time": now + number + 1000, "experiment_id": experiment,
            "artifact_uri": "", "user_id": "ada",
        })  # fmt: skip
        tags += [
            {"run_uuid": run_id, "key": key, "value": f"{key} of {number}"}
            for key in (
                "mlflow.user",
                "mlflow.source.name",
                "mlflow.source.git.commit",
                "team",
                "mlflow.runName",
            )
        ]
        values = range(1000) if number < 2 else range(5)
        names = ["holdout_roc_auc", *(f"metric_{place}" for place in values)]
        metrics += [
            {
                "run_uuid": run_id,
                "key": key,
                "value": number / count,
                "timestamp": now,
                "step": 0,
                "is_nan": 0,
            }
            for key in names
        ]
        params += [
            {"run_uuid": run_id, "key": f"p_{place}", "value": f"{place + number}"} for place in values
        ]
    engine = create_engine(project.tracking_uri)
    with engine.begin() as connection:
        connection.execute(insert(models.SqlRun), runs)
        connection.execute(insert(models.SqlTag), tags)
        connection.execute(insert(models.SqlLatestMetric), metrics)
        connection.execute(insert(models.SqlParam), params)
    engine.dispose()
    return ids[:2]


def keep_summaries(root: Path, ids: list[str], rows: int) -> str:
    """Keep the summaries of a table of two versions, as a data version does, and tell the runs of them."""
    import numpy as np
    import polars as pl

    from tidemill.data.expectations.expectations_file import expectations_digest
    from tidemill.data.tables.summarising import summarise
    from tidemill.data.versioning.content_records import write_summaries
    from tidemill.project import load_project
    from tidemill.training.tracking.mlflow_tracking import connect
    from tidemill.training.tracking.origins.origin_capture import origin_tags

    project, path, draw = load_project(root), "data/0.parquet", np.random.default_rng(0)
    types, file = expectations_digest(root), root / ".tidemill/table.parquet"
    for place, run_id in enumerate(ids):
        numbers = {f"x{column}": draw.normal(place / 10, 1, rows) for column in range(6)}
        kinds = {"carrier": np.array(["UA", "AA", "DL"])[draw.integers(0, 3, rows)]}
        names = {"plane": pl.Series(draw.integers(0, 4000 + 500 * place, rows)).cast(pl.String)}
        pl.DataFrame({**numbers, **kinds, **names}).write_parquet(file)
        begin, spent = time.perf_counter(), time.process_time()
        found = summarise(pl.scan_parquet(file))
        wall, spent = time.perf_counter() - begin, time.process_time() - spent
        print(f"summaries of {rows:,} rows of {len(found)} columns: {wall:.1f} s, {spent:.1f} s of CPU")
        write_summaries(project, f"{place:a>32x}", path, types, found)
        (root / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  s0:\n    cmd: x\n    outs:\n"
            f"    - {{path: {path}, md5: {place:a>32x}, size: 1}}\n"
        )
        for key, value in origin_tags(root).items():
            connect(project).set_tag(run_id, key, value)
    file.unlink()
    return f"data of {rows:,}"


def timed(name: str, line: list[str], root: Path) -> None:
    """Print the median time of a command, and of its CPU."""
    seconds, spent = [], []
    for _ in range(5):
        begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(line, cwd=root, check=True, capture_output=True, env={**os.environ, "COLUMNS": "120"})
        seconds.append(time.perf_counter() - begin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"{name}: {statistics.median(seconds):.2f} s, {statistics.median(spent):.2f} s of CPU", flush=True)


if __name__ == "__main__":
    clean_up_after(main)
