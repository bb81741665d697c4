"""What our search costs beside Ray Tune alone, with the same searcher and scheduler.

    OMP_NUM_THREADS=1 python -m benchmarks.tuning [--trials 40] [--rows 20000] [--pairs 2]

One Ray for all. For each kind of search and each scheduler, ours (every trial in MLflow and in the journal,
with a checkpoint a round, from which a killed search goes on) and a bare `ray.tune.Tuner` (which keeps none
of that, but for pbt, which needs checkpoints) make trials in turn, one at a time: boosted trees on made-up
rows; of random and grid the very same.
Prints CPU seconds of all processes and wall time a round, and their ratios, by medians of the pairs. What a
search costs once (its records, Ray's files: a second or two) counts among its rounds, so few trials cost
more.
"""

import argparse
import contextlib
import os
import pickle
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import polars as pl
import psutil
import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, PopulationBasedTraining
from ray.tune.search.optuna import OptunaSearch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from tests.tidemill.training.small_project import make_project
from tidemill.project import Project
from tidemill.project.train_config import TrainConfig
from tidemill.training.feature_table import FeatureTable
from tidemill.training.model_spec import Family, TrainingSpec
from tidemill.training.search.proposals import Proposals
from tidemill.training.search.search_journal import SearchOrigin, begin_journal
from tidemill.training.search.trial import TrialData
from tidemill.training.search.trial_records import TrialLog
from tidemill.training.search.tuning import search
from tidemill.training.spec_loading import load_spec
from tidemill.training.tracking import mlflow_tracking

ROUNDS, TREES = 4, 25
_EVERY = 0.1
KINDS = (
    ("random", "none"), ("random", "asha"), ("random", "hyperband"), ("random", "median"), ("grid", "none"),
    ("tpe", "asha"), ("gp", "asha"), ("random", "pbt"),
)  # fmt: skip
MODEL = f"""
import pickle
from functools import partial

from ray import tune
from sklearn.ensemble import HistGradientBoostingClassifier
from tidemill import Family, TrainingSpec


def steps(params, features, labels, saved):
    model = HistGradientBoostingClassifier(**params, early_stopping=False, warm_start=True, random_state=0)
    if saved:
        model = pickle.loads(saved.state).set_params(**params)
    for done in range(1 + (saved.rounds if saved else 0), {ROUNDS} + 1):
        yield model.set_params(max_iter=done * {TREES}).fit(features, labels), partial(pickle.dumps, model)


def fit(params, features, labels):
    for model, _ in steps(params, features, labels, None):
        yield model


space = {{"learning_rate": tune.loguniform(0.03, 0.2), "l2_regularization": tune.loguniform(0.01, 10.0)}}
spec = TrainingSpec((Family("trees", space, fit, rounds={ROUNDS}, steps=steps),))
"""
BARE = {"learning_rate": tune.loguniform(0.03, 0.2), "l2_regularization": tune.loguniform(0.01, 10.0)}
SPEC = TrainingSpec((Family("trees", BARE, iter, rounds=ROUNDS),))


def main() -> None:
    """Print a line for each kind of search and scheduler."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--only", default="", help="such as tpe, or pbt")
    options = parser.parse_args()
    if options.trials < 4:
        parser.error("--trials must be 4 or more: a grid has two values of each of two parameters")
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    with tempfile.TemporaryDirectory(prefix="tuning-") as folder:
        project, data = made(Path(folder), options.rows)
        alone = {"address": "local", "_node_ip_address": "127.0.0.1", "include_dashboard": False}
        ray.init(**alone, num_cpus=1, log_to_driver=False, logging_level="ERROR")
        measure(lambda: bare("random", "none", 1, data, Path(folder)))  # starts the worker
        for kind, scheduler in (one for one in KINDS if options.only in one or not options.only):
            if kind == "gp" and find_spec("torch") is None:
                print("gp: not measured, Optuna's sampler needs PyTorch (make torch)")
                continue
            found: dict[str, list[tuple[float, float, int]]] = {"ours": [], "bare": []}
            for _ in range(options.pairs):
                found["bare"].append(
                    measure(lambda: bare(kind, scheduler, options.trials, data, Path(folder)))  # noqa: B023
                )
                found["ours"].append(measure(lambda: ours(project, kind, scheduler, options.trials, data)))  # noqa: B023
            show(f"{kind} {scheduler}", found)
        ray.shutdown()


def made(root: Path, rows: int) -> tuple[Project, TrialData]:
    """Write a project with the family, and make rows."""
    project = make_project(root)
    (root / "small_model.py").write_text(MODEL)
    draw = np.random.default_rng(0)
    features = draw.normal(size=(rows, 20))
    labels = (features[:, 0] * features[:, 1] + draw.normal(size=rows) > 0).astype(int)

    frame = pl.DataFrame(features, schema=[f"x{number}" for number in range(20)])
    cut, names = rows * 3 // 4, tuple(frame.columns)
    train, held = FeatureTable.of(frame[:cut], names), FeatureTable.of(frame[cut:], names)
    return project, TrialData(train, labels[:cut], held, labels[cut:])


def ours(project: Project, kind: Any, scheduler: Any, trials: int, data: TrialData) -> int:
    """Search as a training does, with MLflow and a journal; return the rounds that were fitted."""
    train = TrainConfig(
        trials=trials,
        search=kind,
        scheduler=scheduler,
        max_concurrent=0 if scheduler == "pbt" else 1,  # Ray has one CPU
        grid_points=points(trials),
    )
    project = replace(project, config=project.config.model_copy(update={"train": train}))
    client = mlflow_tracking.connect(project)
    experiment = mlflow_tracking.experiment_id(client, project)
    with mlflow_tracking.parent_run(client, experiment, "search", {}) as run_id:
        journal = begin_journal(project.home, SearchOrigin("turn", run_id, {}))
        log = TrialLog(client, experiment, run_id, "turn", train, project.task.metrics, None, journal)
        search(project, load_spec(project), lambda: data, log, run_id)
    return sum(len(record.history) for record in log.records.values())


def points(trials: int) -> int:
    """Return into how many values a grid of so many trials cuts each of the two parameters."""
    return max(2, int(trials**0.5))


def bare(kind: str, scheduler: str, trials: int, data: TrialData, folder: Path) -> int:
    """Search by Ray Tune alone; return the rounds that were fitted."""
    space: dict[str, Any] = dict(BARE)
    given = kind in ("random", "grid")
    if given:  # the very trials of ours
        config = TrainConfig(trials=trials, search=kind, grid_points=points(trials))
        proposals = Proposals(SPEC, config)
        listed = [dict(proposals.propose(number).params) for number in range(proposals.total)]
        space = {"params": tune.grid_search(listed)}
    samplers = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=0, n_startup_trials=max(2, trials // 3)),
        "gp": lambda: optuna.samplers.GPSampler(seed=0, n_startup_trials=max(2, trials // 3)),
    }
    searcher = OptunaSearch(sampler=samplers[kind]()) if kind in samplers else None
    tuner = tune.Tuner(
        tune.with_parameters(fit_and_save if scheduler == "pbt" else fit_alone, data=data),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="roc_auc",
            mode="max",
            search_alg=searcher,
            scheduler=stopping(scheduler),
            num_samples=1 if given else trials,
            max_concurrent_trials=None if scheduler == "pbt" else 1,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "bare"), verbose=0),
    )
    return sum(int(one.metrics["training_iteration"]) for one in tuner.fit())


def stopping(kind: str) -> Any:
    """Return Ray Tune's scheduler."""
    if kind == "pbt":
        return PopulationBasedTraining(
            "training_iteration", perturbation_interval=1, hyperparam_mutations={"params": BARE}
        )
    if kind == "median":
        return MedianStoppingRule(grace_period=1, time_attr="training_iteration", min_time_slice=10**9)
    brackets = {"asha": 1, "hyperband": 2}
    return AsyncHyperBandScheduler(max_t=ROUNDS, brackets=brackets[kind]) if kind in brackets else None


def fit_alone(config: dict[str, Any], data: TrialData) -> None:
    """Fit round by round, as a person would write it."""
    train, held = data.train_features.frame(), data.validation_features.frame()
    model = HistGradientBoostingClassifier(
        **config.get("params", config), early_stopping=False, warm_start=True, random_state=0
    )
    for done in range(1, ROUNDS + 1):
        model.set_params(max_iter=done * TREES).fit(train, data.train_labels)
        tune.report({"roc_auc": roc_auc_score(data.validation_labels, model.predict_proba(held)[:, 1])})


def fit_and_save(config: dict[str, Any], data: TrialData) -> None:
    """Fit round by round with checkpoints, for population-based training."""
    train, held = data.train_features.frame(), data.validation_features.frame()
    model = HistGradientBoostingClassifier(early_stopping=False, warm_start=True, random_state=0)
    done, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            done, model = pickle.loads(Path(folder, "state").read_bytes())
    for number in range(done + 1, ROUNDS + 1):
        model.set_params(**config["params"], max_iter=number * TREES).fit(train, data.train_labels)
        value = roc_auc_score(data.validation_labels, model.predict_proba(held)[:, 1])
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "state").write_bytes(pickle.dumps((number, model)))
            tune.report({"roc_auc": value}, checkpoint=tune.Checkpoint.from_directory(folder))


def measure(act: Callable[[], int]) -> tuple[float, float, int]:
    """Return CPU seconds of this process and all below it, seconds, and rounds.

    Ray's workers are waited for by nobody, so their times are lost with them: they are read all the time.
    """
    used: dict[tuple[int, float], float] = {}
    before, ended = read(used), threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY):
            read(used)

    watching, began = threading.Thread(target=watch), time.perf_counter()
    watching.start()
    try:
        rounds = act()
        seconds = time.perf_counter() - began
    finally:
        ended.set()
        watching.join()
    return read(used) - before, seconds, rounds


def read(used: dict[tuple[int, float], float]) -> float:
    """Read the CPU seconds of all processes; return their sum, those that have ended among them."""
    me = psutil.Process()
    for one in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):  # it has just ended
            times = one.cpu_times()
            used[one.pid, one.create_time()] = times.user + times.system
    return sum(used.values())


def show(name: str, found: dict[str, list[tuple[float, float, int]]]) -> None:
    """Print medians of CPU seconds and seconds by round, and their ratios."""
    middle = {
        which: [statistics.median(one[place] / one[2] for one in runs) for place in (0, 1)]
        for which, runs in found.items()
    }
    rounds = {which: [one[2] for one in runs] for which, runs in found.items()}
    ratios = [mine / bare for mine, bare in zip(middle["ours"], middle["bare"], strict=True)]
    print(
        f"{name:17} CPU {middle['ours'][0]:.3f} / {middle['bare'][0]:.3f} s a round = {ratios[0]:.2f}, "
        f"wall {middle['ours'][1]:.3f} / {middle['bare'][1]:.3f} = {ratios[1]:.2f}  (rounds {rounds})",
        flush=True,
    )


if __name__ == "__main__":
    main()
