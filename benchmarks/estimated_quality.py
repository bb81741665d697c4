"""How often the quality with labels lies in the interval that was estimated without them.

Made-up windows of 1,000 rows whose inputs have moved by up to 0.8 standard deviations, and a hold-out of
2,000 rows; the labels depend on the inputs as before, which is what an estimate assumes. The model of
classes is overconfident. Beside it, what a monitor without labels has otherwise: the quality on the
hold-out; and with ``--nannyml`` the estimates of NannyML (CBPE, DLE) of the same windows from the same
rows, in an environment of its own.

    python -m benchmarks.estimated_quality [--windows 100] [--nannyml FOLDER]

Prints for each metric: the share of windows whose true quality is inside the interval (95 % is meant), the
median distance of the estimate from the truth, that of the hold-out's value, their ratio, and the time; of
NannyML the share inside its interval, its distance, and the largest difference of the two estimates. Then,
for each task, the share of windows that are flagged as not to be judged: where the assumptions hold, where
labels depend on the inputs in another way (a third of the strength, found by labels that are known), and
where inputs are unlike the training set (moved by 4 standard deviations). Intervals: Clopper and Pearson,
95 %.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.detection import interval
from benchmarks.detectors import nannyml_python
from tests.tidemill.monitoring.quality.made_worlds import (
    NAMES,
    World,
    binary,
    classes,
    numbers,
    reference_of,
    true_quality,
)
from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality, Predictions, estimate
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task

WORLDS: list[tuple[World, list[Task]]] = [
    (binary, [Binary(name) for name in ("roc_auc", "neg_log_loss", "f1", "recall_at_precision_90")]),
    (classes, [Multiclass(name, classes=NAMES) for name in ("neg_log_loss", "f1_macro", "roc_auc_ovr")]),
    (numbers, [Regression(name) for name in ("neg_mae", "neg_rmse", "r2", "neg_median_ae")]),
]
THEIRS = {"roc_auc_ovr": "roc_auc", "f1_macro": "f1", "neg_mae": "mae", "neg_rmse": "rmse"}
"""Our metric → NannyML's, where it has another name; losses are positive there."""
NOTHING = Predictions(pl.DataFrame(), pl.DataFrame())


class Pair(NamedTuple):
    """A hold-out, and a window after it."""

    holdout: Predictions
    window: Predictions


def windows_of(world: World, count: int) -> list[Pair]:
    """Return windows whose inputs have moved, each with a hold-out of its own."""
    random, found = np.random.default_rng(11), []
    for _ in range(count):
        features, logged = world(random, 2000)
        moved, later = world(random, 1000, random.uniform(-0.8, 0.8))
        found.append(Pair(Predictions(logged, features), Predictions(later, moved)))
    return found


def estimated(task: Task, pair: Pair, labelled: Predictions = NOTHING) -> EstimatedQuality:
    """Estimate the quality of a window."""
    reference = reference_of(task, pair.holdout.features, pair.holdout.rows)
    expected = true_quality(task, pair.holdout)
    return estimate(reference, pair.window, labelled, task, QualityConfig(), lambda _: expected, 500)


def by_nannyml(python: Path, task: Task, pairs: list[Pair], scratch: Path) -> list[dict[str, Any]]:
    """Return what NannyML says of each window."""
    folders = []
    for number, pair in enumerate(pairs):
        folder = scratch / f"{task.kind}-{number}"
        folder.mkdir()
        for name, side in zip(("reference", "windows"), pair, strict=True):
            _for_nannyml(task, side).write_parquet(folder / f"{name}.parquet")
        asked = {"task": task.kind, "size": 1000, "drift": False, "classes": getattr(task, "classes", ())}
        asked["features"] = pair.window.features.columns
        (folder / "asked.json").write_text(json.dumps(asked))
        folders.append(folder)
    script = Path(__file__).with_name("nannyml_windows.py")
    done = subprocess.run([python, script, *folders], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"NannyML failed:\n{done.stderr[-3000:]}")
    return [json.loads((folder / "found.json").read_text())[0] for folder in folders]


def _for_nannyml(task: Task, side: Predictions) -> pl.DataFrame:
    answers, truth = task.given_in_log(side.rows), task.truth_of_log(side.rows)
    if task.kind == "regression":
        return side.features.with_columns(__score=pl.Series(answers), __truth=pl.Series(truth))
    if task.kind == "binary":
        given, known = (answers >= 0.5).astype(int), truth.astype(int)
    else:
        given, known = (np.array(NAMES)[each.astype(int)] for each in (answers.argmax(axis=1), truth))
    chances = answers if answers.ndim == 2 else answers[:, None]
    each = [pl.Series(f"__chance_{place}", chances[:, place]) for place in range(chances.shape[1])]
    return side.features.with_columns(*each, __given=pl.Series(given), __truth=pl.Series(known))


def show(task: Task, pairs: list[Pair], theirs: list[dict[str, Any]] | None) -> None:
    """Print the line of a metric."""
    inside, off, known, spent, made = 0, list[float](), list[float](), 0.0, list[float]()
    truths = [true_quality(task, pair.window) for pair in pairs]
    for pair, truth in zip(pairs, truths, strict=True):
        began = time.perf_counter()
        one = estimated(task, pair)
        spent += time.perf_counter() - began
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        inside += one.low <= truth <= one.high
        made.append(one.value)
        off.append(abs(one.value - truth))
        known.append(abs(true_quality(task, pair.holdout) - truth))
    middle = float(np.median(off)), float(np.median(known))
    print(
        f"{task.kind:>11} {task.metric:>22} {interval(inside, len(pairs)):>20} "
        f"{middle[0]:9.4f} {middle[1]:9.4f} {middle[0] / middle[1]:6.2f} {spent / len(pairs):6.2f}s"
        + _beside(task, made, truths, theirs),
        flush=True,
    )


def _beside(task: Task, made: list[float], truths: list[float], theirs: list[dict[str, Any]] | None) -> str:
    name = THEIRS.get(task.metric, task.metric)
    if theirs is None or name not in theirs[0]["estimated values"]:
        return ""
    sign = -1 if task.metric.startswith("neg_") else 1
    values = np.array([sign * each["estimated values"][name] for each in theirs])
    ends = [[sign * each[f"estimated {end}"][name] for each in theirs] for end in ("lower", "upper")]
    low, high = np.sort(ends, axis=0)
    inside = int(((low <= truths) & (truths <= high)).sum())
    off, apart = np.abs(values - truths), np.abs(values - made)
    return f" {interval(inside, len(made)):>20} {np.median(off):9.4f} {apart.max():9.4f}"


def show_flags(world: World, task: Task, windows: int) -> None:
    """Print how many windows are not judged, where they should be and where they should not."""
    random = np.random.default_rng(13)
    told = []
    for shift, concept in ((0.8, 1.0), (0.0, 0.3), (4.0, 1.0)):
        flagged = 0
        for _ in range(windows):
            features, logged = world(random, 2000)
            by = random.uniform(-shift, shift) if shift < 1 else shift
            moved, later = world(random, 1000, by, concept)
            before, labelled = world(random, 1000, by, concept)
            pair = Pair(Predictions(logged, features), Predictions(later, moved))
            flagged += estimated(task, pair, Predictions(labelled, before)).decayed is None
        told.append(interval(flagged, windows))
    print(f"{task.kind:>11} {task.metric:>22} " + " ".join(f"{each:>22}" for each in told), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--nannyml", type=Path, help="folder of an environment with NannyML, made if need be")
    given = parser.parse_args()
    python = nannyml_python(given.nannyml.absolute()) if given.nannyml else None
    print(
        f"{'':>34} {'inside':>20} {'off':>9} {'hold-out':>9}  ratio    time "
        f"{'NannyML inside':>20} {'off':>9} {'apart':>9}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for world, tasks in WORLDS:
            pairs = windows_of(world, given.windows)
            theirs = by_nannyml(python, tasks[0], pairs, Path(scratch)) if python else None
            for task in tasks:
                show(task, pairs, theirs)
    print(
        f"\nnot judged {'':>23} {'assumptions hold':>22} {'labels known, other':>22} "
        f"{'inputs moved by 4 sd':>22}"
    )
    for world, tasks in WORLDS:
        show_flags(world, tasks[0], given.windows)


if __name__ == "__main__":
    main()
