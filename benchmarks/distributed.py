"""What several workers make of a fit: wall time, CPU, and whether the model is what one process makes.

    python -m benchmarks.distributed [--rows 200000] [--columns 30] [--only xgboost] [--streamed-from 0]

Made-up rows. Each family is fitted by one process, by two workers, and by two of which one gets a SIGKILL
after a round: it must be replaced, and the fit must go on from the checkpoint. Prints, for each, seconds, CPU
seconds of all processes, the most memory that a worker had (all, and what the system cannot take back, as it
can what is mapped), the metric on held-out rows, how far its probabilities lie from those of one process, and
a checksum of them. `--streamed-from` says from how many bytes of a shard on Ray Data streams it. The exit
code is 1 where the metric is off by more than 0.005, or where no worker was killed. Two workers need two CPUs
that nobody else uses; what Ray takes to start is told apart.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import psutil
import yaml
from sklearn.metrics import roc_auc_score

from benchmarks.children import clean_up_after
from tests.tidemill.training.small_project import make_project
from tidemill.project import Project, load_project
from tidemill.settings import Settings
from tidemill.training.fitting import row_shards
from tidemill.training.fitting.distributed_fit import fit_by_workers
from tidemill.training.fitting.fit_on_ray import FitSpent
from tidemill.training.model_spec import Family
from tidemill.training.ray_session import ray_session
from tidemill.training.spec_loading import load_spec

WORKERS, MOST = 2, 0.005
PARAMS = {
    "xgboost": {"learning_rate": 0.1, "max_depth": 6},
    "lightgbm": {"learning_rate": 0.1, "num_leaves": 31},
    "mlp": {"width": 128, "layers": 2, "learning_rate": 1e-3, "weight_decay": 1e-4},
}
_EVERY = 0.1


@dataclass(frozen=True)
class Rows:
    """Rows to learn from, and others to judge by."""

    features: pd.DataFrame
    labels: "pd.Series[Any]"
    judged: pd.DataFrame
    truth: "pd.Series[Any]"


@dataclass(frozen=True)
class Cost:
    """What a fit took: seconds, and the most memory of a worker."""

    wall: float
    cpu: float
    memory: str


def main() -> None:
    """Print a line for each family and way to fit it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--only", default="", help="such as xgboost")
    parser.add_argument("--streamed-from", type=int, default=row_shards.STREAMED_FROM, help="bytes")
    options = parser.parse_args()
    row_shards.STREAMED_FROM = options.streamed_from
    rows, faults = made_rows(options.rows, options.columns), list[str]()
    with tempfile.TemporaryDirectory(prefix="distributed-") as folder:
        names = [name for name in PARAMS if options.only in ("", name)]
        project = made_project(Path(folder), names)
        with measured() as start, ray_session(project):
            pass
        print(f"Ray starts and ends in {start().wall:.1f} s, {start().cpu:.1f} s of CPU", flush=True)
        with ray_session(project):
            for name in names:
                faults += compare(project, load_spec(project).family(name), rows)
    for fault in faults:
        print(f"  {fault}")
    sys.exit(bool(faults))


def made_rows(count: int, columns: int) -> Rows:
    """Make rows whose label depends on products of columns; some values are missing."""
    draw = np.random.default_rng(0)
    values = draw.normal(size=(count + count // 4, columns))
    score = values[:, 0] * values[:, 1] + values[:, 2] - values[:, 3] ** 2 / 2 + draw.normal(size=len(values))
    values[draw.random(values.shape) < 0.02] = np.nan
    frame = pd.DataFrame(values, columns=[f"x{number}" for number in range(columns)])
    labels = pd.Series((score > np.median(score)).astype(np.int8))
    return Rows(frame[:count], labels[:count], frame[count:], labels[count:])


def made_project(root: Path, names: list[str]) -> Project:
    """Write a project with these families."""
    make_project(root, workers=WORKERS)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["project"]["training"] = None
    params["train"]["families"] = names
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return load_project(root, Settings())


def compare(project: Project, family: Family, rows: Rows) -> list[str]:
    """Fit a family in all ways, print what each took, and return what was wrong."""
    params, faults, alone = PARAMS[family.name], list[str](), np.empty(0)

    def by_one() -> Any:
        return list(islice(family.fit(params, rows.features, rows.labels), family.rounds))[-1]

    def by_two() -> Any:
        given = (params, family.rounds)
        found = fit_by_workers(project, family, given, rows.features, rows.labels, FitSpent(name=family.name))
        assert found is not None, "Ray has room for one worker only"
        return found

    killed: list[int] = []
    ways: dict[str, Callable[[], Any]] = {
        "one process": by_one,
        "two workers": by_two,
        "one is killed": lambda: with_a_kill(project, family.name, by_two, killed),
    }
    for way, fit in ways.items():
        with measured() as cost:
            model = fit()
        answers = model.predict_proba(rows.judged)[:, 1]
        alone = answers if not len(alone) else alone
        value, first = (float(roc_auc_score(rows.truth, one)) for one in (answers, alone))
        apart = float(np.abs(answers - alone).mean())
        print(
            f"{family.name:9} {way:14} {cost().wall:6.1f} s {cost().cpu:6.1f} s of CPU   "
            f"{cost().memory}   ROC AUC {value:.5f}   apart {apart:.5f}   {crc32(answers.tobytes()):08x}",
            flush=True,
        )
        if abs(value - first) > MOST:
            faults.append(f"{family.name}, {way}: {value:.5f} is not {first:.5f}")
    if not killed:
        faults.append(f"{family.name}: no worker was killed")
    return faults


def with_a_kill(project: Project, name: str, fit: Callable[[], Any], killed: list[int]) -> Any:
    """Fit, and kill a worker once there is a checkpoint."""
    over = threading.Event()

    def kill() -> None:
        folder = project.home / "ray_results" / name / "checkpoints"
        while not over.wait(0.02):
            if any(folder.glob("checkpoint_*")) and (found := workers()):
                found[-1].send_signal(signal.SIGKILL)
                killed.append(found[-1].pid)
                return

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        return fit()
    finally:
        over.set()
        thread.join()


def workers() -> list[psutil.Process]:
    """Return the processes that fit."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "RayTrainWorker" in "".join(one.cmdline()[:1]):
                found.append(one)
    return found


@contextmanager
def measured() -> Iterator[Callable[[], Cost]]:
    """Measure the block: time, and CPU of this process and of all below it, ended ones too."""
    spent: dict[tuple[int, float], float] = {}
    over, cost, held = threading.Event(), list[Cost](), [0, 0]
    thread = threading.Thread(target=lambda: _sample(spent, held, over), daemon=True)
    before, began = _look(spent, held), time.monotonic()
    thread.start()
    yield lambda: cost[0]
    wall = time.monotonic() - began
    over.set()
    thread.join()
    _look(spent, held)
    memory = f"{held[0] >> 20:5} MB {held[1] >> 20:5} MB own"
    cost.append(Cost(wall, sum(spent.values()) - before, memory))


def _sample(spent: dict[tuple[int, float], float], held: list[int], over: threading.Event) -> None:
    while not over.wait(_EVERY):
        _look(spent, held)


def _look(spent: dict[tuple[int, float], float], held: list[int]) -> float:
    """Note the CPU seconds of each process and the most memory of a worker; return the sum of the seconds."""
    here = psutil.Process(os.getpid())
    for one in [here, *here.children(recursive=True)]:
        with suppress(psutil.Error):
            times, memory = one.cpu_times(), one.memory_info()
            spent[one.pid, one.create_time()] = times.user + times.system
            if "RayTrainWorker" in "".join(one.cmdline()[:1]):
                held[:] = max(held[0], memory.rss), max(held[1], memory.rss - memory.shared)
    return sum(spent.values())


if __name__ == "__main__":
    clean_up_after(main)
