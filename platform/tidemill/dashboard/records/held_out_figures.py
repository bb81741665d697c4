"""Measures on the held-out rows that are kept with a version: intervals of metrics, and calibration."""

import math
from collections.abc import Mapping

import numpy as np

from tidemill.monitoring.quality.held_out import HeldOut
from tidemill.monitoring.quality.label_draws import as_classes
from tidemill.tasks.calibration_error import calibration_error
from tidemill.tasks.task import Task
from tidemill.tasks.task_names import METRICS

__all__ = ["calibration_of", "intervals_of"]

_RESAMPLES = 200


def intervals_of(
    task: Task, known: HeldOut, recorded: Mapping[str, float], rows: float
) -> dict[str, tuple[float, float]]:
    """Return the 90 % interval of each metric that the task itself has, by a bootstrap over single rows.

    Args:
        task: what is predicted.
        known: the rows that are kept, at least `tidemill.monitoring.quality.held_out.LEAST`.
        recorded: metrics on the whole hold-out, by name; the project's own get none, as they may take long.
        rows: of the whole hold-out, of which ``known`` is a sample: the interval is around what is recorded,
            and as wide as so many rows make it.
    """
    count = len(known.truth)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=_RESAMPLES)
    weights = np.vstack([np.ones(count), drawn])
    narrower, found = math.sqrt(min(1.0, count / rows)) if rows else 1.0, {}
    for name, value in recorded.items():
        if name in METRICS[task.kind]:
            own, *values = task.measure(name, known.truth, known.answers)(weights)
            if np.isfinite([own, *values]).all():
                low, high = np.quantile(values, [0.05, 0.95]) - own
                found[name] = float(value + low * narrower), float(value + high * narrower)
    return found


def calibration_of(task: Task, known: HeldOut) -> float | None:
    """Return the calibration error, of several classes that of the worst; None of what is no probability."""
    if task.kind not in ("binary", "multiclass"):
        return None
    each = as_classes(known.answers)
    judged = range(1, 2) if each.shape[1] == 2 else range(each.shape[1])
    error = max(calibration_error(each[:, n], (known.truth == n).astype(np.float64)) for n in judged)
    return error if math.isfinite(error) else None
