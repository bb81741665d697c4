"""Whether a search that is killed again and again makes no finished trial twice, and finds the same model.

    python -m benchmarks.resume [--kills 50] [--seed 0]

A small search (TPE, ASHA, one trial at a time) is made whole once. Then the same search is made while its
processes get a SIGKILL at random moments, soon after trials run: the driver, a worker, or all of Ray. After
each kill another process takes the search up, and the trial that ran goes on from its checkpoint. Trials
that MLflow has as ended before a kill must not be fitted after it: the family itself notes each fit. At the
end all must be as in the whole search: parameters, rounds, metrics. Searches are made until there were
enough kills; the exit code is 1 where anything was otherwise.
"""

import argparse
import contextlib
import json
import os
import pickle
import random
import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.tidemill.training.small_project import FEATURES, Data, day, make_project
from tidemill.project import Project, load_project
from tidemill.settings import Settings
from tidemill.training.tracking import mlflow_tracking
from tidemill.training.tracking.training_result import TrainedModel
from tidemill.training.train import train

TRIALS = 30
_PATIENCE = 5.0
"""Seconds after which a driver whose Ray is gone is killed as well."""
_SOON = 1.5
"""Seconds within which a process is killed once it runs trials."""
_KINDS = ("driver", "driver", "driver", "worker", "ray")
MODEL = textwrap.dedent(
    """
    import json
    import time
    from pathlib import Path

    from ray import tune
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from tidemill import Family, OnlyIf, TrainingSpec

    FITS = Path(__file__).parent / "fits.jsonl"


    def steps(params, features, labels, saved):
        with FITS.open("a") as file:
            file.write(json.dumps([repr(sorted(params.items())), len(features)]) + "\\n")
        for step in range(1 + (saved.rounds if saved else 0), 5):
            time.sleep(0.05)
            line = LogisticRegression(
                C=params["c"] * step, fit_intercept=params["intercept"], tol=params.get("tol", 1e-4)
            )
            yield make_pipeline(SimpleImputer(), line).fit(features, labels), lambda: b""


    def fit(params, features, labels):
        for model, _ in steps(params, features, labels, None):
            yield model


    space = {
        "intercept": tune.choice([True, False]),
        "c": tune.loguniform(0.0001, 10.0),
        "tol": OnlyIf("intercept", (True,), tune.loguniform(1e-6, 1e-1)),
    }
    spec = TrainingSpec((Family("line", space, fit, rounds=4, steps=steps),))
    """
)


def main() -> None:
    """Search whole, then with kills, and print what was otherwise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, killed, wrong, searches = random.Random(options.seed), Counter[str](), list[str](), 0
    with tempfile.TemporaryDirectory(prefix="resume-") as folder:
        in_fork(lambda: write_project(Path(folder)))
        project = load_project(Path(folder), Settings())
        ended(attempt(project, "turn_0"))
        whole, took = in_fork(lambda: read(project, "turn_0"))
        print(f"whole: {said(whole)}, {took:.1f} s for {whole.trials} trials", flush=True)
        while sum(killed.values()) < options.kills:
            searches += 1
            most = options.kills - sum(killed.values())
            kills, faults = searched(project, f"turn_{searches}", draw, most)
            killed.update(kills)
            found, _ = in_fork(partial(read, project, f"turn_{searches}"))
            if outcome(found) != outcome(whole):
                faults.append(f"another model: {said(found)}")
            wrong += [f"turn_{searches}: {fault}" for fault in faults]
            print(f"turn_{searches}: {', '.join(kills) or 'no kill'}; {said(found)}", flush=True)
    counts = ", ".join(f"{name} {count}" for name, count in sorted(killed.items()))
    print(f"{searches} searches, {sum(killed.values())} kills ({counts}), {len(wrong)} faults")
    for fault in wrong:
        print(f"  {fault}")
    sys.exit(bool(wrong))


def write_project(root: Path) -> None:
    """Write the project."""
    make_project(root)
    (root / "slow_model.py").write_text(MODEL)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["project"]["training"] = "slow_model:spec"
    params["train"] = {"trials": TRIALS, "search": "tpe", "scheduler": "asha", "max_concurrent": 1}
    params["train"]["checkpoint_seconds"] = 0
    (root / "params.yaml").write_text(yaml.safe_dump(params))


def searched(project: Project, turn: str, draw: random.Random, most: int) -> tuple[list[str], list[str]]:
    """Make one search with kills until it has ended; return what was killed, and what was wrong.

    A driver that lost a worker goes on with the trial by itself, and loses its life next: a trial whose
    worker is lost twice has failed.
    """
    kills, faults = list[str](), list[str]()
    while True:
        done, fits = in_fork(lambda: finished(project, turn)), len(fits_in(project))
        child = attempt(project, turn)
        now = killed_soon(project, child, fits, draw, most - len(kills))
        kills += now
        status = ended(child, _PATIENCE if now[-1:] == ["ray"] else None)
        noted = fits_in(project)
        faults += [f"an ended trial that nobody fitted: {one}" for one in done.keys() - {*dict(noted)}]
        again = [params for params, rows in noted[fits:] if done.get(params) == rows]
        faults += [f"made again after it had ended: {params}" for params in again]
        if status == 0:
            return kills, faults
        if not now:
            return kills, [*faults, f"the process ended by itself with {status}"]


def killed_soon(project: Project, child: int, fits: int, draw: random.Random, most: int) -> list[str]:
    """Kill a process soon after trials run, and after a worker its driver; return what was killed."""
    kills = list[str]()
    while kills[-1:] in ([], ["worker"]) and len(kills) < most and wait_for_trials(project, child, fits):
        kind = draw.choice(_KINDS[:3] if kills else _KINDS)
        time.sleep(draw.uniform(0, _SOON))
        kills += [kind] if kill(child, kind) else []
    return kills


def attempt(project: Project, turn: str) -> int:
    """Fork a process that makes the search, or takes it up; return its id."""
    child = os.fork()
    if child:
        return child
    with (project.root / "driver.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.setpgid(0, 0)
    status = 1
    try:
        read(project, turn)
        status = 0
    finally:
        os._exit(status)


def in_fork(act: Callable[[], Any]) -> Any:
    """Return what a function returns in a process of its own: threads and connections are not forked."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(write_end, "wb") as file:
            pickle.dump(act(), file)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    return pickle.loads(found)


def ended(child: int, patience: float | None = None) -> int:
    """Wait for a process; kill it when it hangs for so many seconds."""
    until = None if patience is None else time.monotonic() + patience
    while True:
        gone, status = os.waitpid(child, 0 if until is None else os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        if until is not None and time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = None
        time.sleep(0.05)


def wait_for_trials(project: Project, child: int, fits: int) -> bool:
    """Wait until the process has begun to fit; False: it ended before."""
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        if len(fits_in(project)) > fits:
            return True
        time.sleep(0.02)
    return False


def kill(child: int, kind: str) -> bool:
    """Kill a driver, one of its workers, or all of its Ray; return whether there was anything to kill."""
    with contextlib.suppress(psutil.Error):
        driver = psutil.Process(child)
        if driver.status() == psutil.STATUS_ZOMBIE:
            return False
        below = driver.children(recursive=True)
        if kind == "driver":
            driver.kill()
            return True
        wanted = "ray::ImplicitFunc" if kind == "worker" else ""  # an agent of Ray is called ray::, too
        found = [one for one in below if wanted in "".join(one.cmdline()[:1])]
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGKILL)
        return bool(found)
    return False


def fits_in(project: Project) -> list[tuple[str, int]]:
    """Return the fits that the family has noted: parameters and rows."""
    file = project.root / "fits.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(params, rows) for params, rows in map(json.loads, lines)]


def finished(project: Project, turn: str) -> dict[str, int]:
    """Return the parameters of the trials that MLflow has as ended, with the rows they were fitted on."""
    of_turn = {mlflow_tracking.TURN: turn, mlflow_tracking.ROLE: "trial"}
    trials = [one for one in runs(project, of_turn) if one.info.status != "RUNNING"]
    rows = min((rows for _, rows in fits_in(project)), default=0)
    kept = {
        "intercept": lambda text: text == "True",
        "c": float,
        "tol": float,
    }
    return {
        repr(sorted((name, kept[name](text)) for name, text in one.data.params.items() if name in kept)): rows
        for one in trials
        if not one.data.tags.get(mlflow_tracking.END, "").startswith("orphaned")
    }


def runs(project: Project, tags: dict[str, str]) -> list[Any]:
    """Return MLflow's runs with these tags."""
    client = mlflow_tracking.connect(project)
    return mlflow_tracking.find_runs(client, mlflow_tracking.experiment_id(client, project), tags)


def read(project: Project, turn: str) -> tuple[TrainedModel, float]:
    """Search, or read a finished search; return it, and the seconds from its first trial to its last."""
    trained = train(project, Data(), day(100), turn, features=FEATURES, service="s", definition="d")
    found = [one.info for one in runs(project, {mlflow_tracking.PARENT: trained.run_id})]
    return trained, (max(one.end_time for one in found) - min(one.start_time for one in found)) / 1000


def outcome(trained: TrainedModel) -> tuple[Any, ...]:
    """Return what must be the same."""
    return trained.family, trained.params, trained.rounds, trained.trials, trained.metrics


def said(trained: TrainedModel) -> str:
    """Say what a search found."""
    params = ", ".join(f"{name} {value}" for name, value in trained.params.items())
    return f"{params}, {trained.rounds} rounds, {trained.metrics['validation_roc_auc']:.6f}"


if __name__ == "__main__":
    main()
