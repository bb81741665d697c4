"""How often the quality with labels lies in the interval that was estimated without them.

Made-up windows of 1,000 rows whose inputs have moved by up to 0.8 standard deviations, and a hold-out of
2,000 rows; the labels depend on the inputs as before, which is what an estimate assumes. The model of classes
is overconfident. Beside it, what a monitor without labels has otherwise: the quality on the hold-out.

    python -m benchmarks.estimated_quality [--windows 100]

Prints for each metric: the share of windows whose true quality is inside the interval (95 % is meant), the
median distance of the estimate from the truth, that of the hold-out's value, their ratio, and the time.
"""

import argparse
import time

import numpy as np
import polars as pl

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
from tidemill.monitoring.quality.estimated_quality import Predictions, estimate
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task

WORLDS: list[tuple[World, Task]] = [
    *((binary, Binary(name)) for name in ("roc_auc", "neg_log_loss", "f1", "recall_at_precision_90")),
    *((classes, Multiclass(name, classes=NAMES)) for name in ("neg_log_loss", "f1_macro", "roc_auc_ovr")),
    *((numbers, Regression(name)) for name in ("neg_mae", "neg_rmse", "r2", "neg_median_ae")),
]


NOTHING = Predictions(pl.DataFrame(), pl.DataFrame())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=100)
    windows = parser.parse_args().windows
    print("       task                 metric  inside  estimate off  hold-out off  ratio    time")
    for world, task in WORLDS:
        random = np.random.default_rng(11)
        inside, ours, theirs, spent = 0, list[float](), list[float](), 0.0
        for _ in range(windows):
            features, logged = world(random, 2000)
            moved, later = world(random, 1000, random.uniform(-0.8, 0.8))
            window = Predictions(later, moved)
            reference = reference_of(task, features, logged)
            began = time.perf_counter()
            made = estimate(reference, window, NOTHING, task, QualityConfig(), lambda _: None, 500)
            spent += time.perf_counter() - began
            truth = true_quality(task, window)
            assert made.value is not None
            assert made.low is not None
            assert made.high is not None
            inside += made.low <= truth <= made.high
            ours.append(abs(made.value - truth))
            theirs.append(abs(true_quality(task, Predictions(logged, features)) - truth))
        off, known = float(np.median(ours)), float(np.median(theirs))
        print(
            f"{task.kind:>11} {task.metric:>22} {inside / windows:7.0%} {off:13.4f} {known:13.4f} "
            f"{off / known:6.2f} {spent / windows:6.2f}s"
        )


if __name__ == "__main__":
    main()
