"""Compute metrics of the project's own: they know no weights, and may raise or return anything."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.errors import ConfigError
from tidemill.plurals import counted
from tidemill.tasks.weighted_metrics import Measure

__all__ = ["ProjectMetric", "load_metric", "resampled"]

ProjectMetric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]
"""A metric of the project's own: takes truth and answers, and returns a number that is higher when better."""

_RESAMPLES = 100


def load_metric(name: str, load: Callable[[str], Any], where: str) -> ProjectMetric:
    """Return a metric of the project's own.

    Args:
        name: ``module:function``.
        load: imports it.
        where: it is named, for messages.

    Raises:
        ConfigError: there is no such function.
    """
    found: ProjectMetric = load(name)
    if not callable(found):
        raise ConfigError(
            f"{where} names {name}, which is no function",
            hint="name a function that takes truth and answers, and returns a number",
        )
    return found


def _times(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return how often to repeat each row.

    >>> _times(np.array([2.0, 0.0, 1.0])).tolist(), _times(np.array([0.4, 0.4, 0.1, 0.1])).tolist()
    ([2, 0, 1], [2, 1, 1, 0])
    """
    if not weights.sum() or (weights == np.rint(weights)).all():
        return weights.astype(np.int64)
    sums = np.rint(np.cumsum(weights) * (len(weights) / weights.sum()))
    return np.asarray(np.diff(sums, prepend=0.0), dtype=np.int64)


def resampled(
    name: str, metric: ProjectMetric, truth: npt.NDArray[Any], answers: npt.NDArray[Any]
) -> Measure:
    """Return the measure of a function that knows no weights: rows are repeated as often as they weigh.

    Weights that are no whole numbers are scaled to the number of rows, and rounded so that their sums, row
    after row, are off by less than one.
    """

    def measure(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found = np.full(len(weights), np.nan)
        for number, row in enumerate(weights[:_RESAMPLES]):
            places = np.repeat(np.arange(len(truth)), _times(row))
            found[number] = _value(name, metric, truth[places], answers[places]) if len(places) else np.nan
        return found

    return measure


def _value(name: str, metric: ProjectMetric, truth: npt.NDArray[Any], answers: npt.NDArray[Any]) -> float:
    try:
        found: object = metric(truth, answers)
    except Exception as error:  # the project's own code may raise anything
        raise ConfigError(
            f"the metric {name} failed for {counted(len(truth), 'row')}: {type(error).__name__}: {error}",
            hint="mend the function; it may return NaN where the metric is undefined",
        ) from error
    if isinstance(found, int | float | np.number) or (isinstance(found, np.ndarray) and found.ndim == 0):
        return float(found)
    raise ConfigError(
        f"the metric {name} returned {type(found).__name__}, not a number",
        hint="return one number, higher is better; NaN where the metric is undefined",
    )
