"""Arranges the predictions of windows for pictures: numbers as their middle and range, classes as shares."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.dashboard.charts.shares_over_time import Divided
from tidemill.dashboard.charts.time_series import TimePoint, TimeSeries
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.watched.metric_words import number_in

__all__ = ["class_shares", "score_series", "traffic"]


def score_series(runs: Sequence[Any]) -> list[TimeSeries]:
    """Return the predictions of each window, and those of what its version is compared with.

    Of runs that recorded quantiles: the median and the middle 90 %; else the mean.
    """
    now, before = list[TimePoint](), list[TimePoint]()
    for run in runs:
        drift = run.results.get("prediction_drift")
        drift = drift if isinstance(drift, Mapping) else {}
        now.append(_point(run, drift, "now", "current_mean"))
        before.append(_point(run, drift, "before", "reference_mean"))
    found = [TimeSeries("predictions", now), TimeSeries("reference", before)]
    return [each for each in found if any(point.value is not None for point in each.points)]


def _point(run: Any, drift: Mapping[str, Any], side: str, mean: str) -> TimePoint:
    answers = run.results.get("answers")
    quantiles = answers.get(f"quantiles_{side}") if isinstance(answers, Mapping) else None
    if isinstance(quantiles, Mapping):
        low, middle, high = (number_in(quantiles, name) for name in ("0.05", "0.5", "0.95"))
        return TimePoint(run.at, middle, low, high)
    return TimePoint(run.at, number_in(drift, mean), doubt=None)


def class_shares(model: str, runs: Sequence[Any]) -> list[Divided]:
    """Return the shares of predicted classes of the windows that recorded them."""
    found = list[Divided]()
    for run in runs:
        answers = run.results.get("answers")
        shares = answers.get("classes_now") if isinstance(answers, Mapping) else None
        if isinstance(shares, Mapping) and shares:
            known = {str(name): 100 * float(share) for name, share in shares.items()}
            found.append(Divided(run.at, address_of("models", model, "windows", run.id), known))
    return found


def traffic(model: str, runs: Sequence[Any]) -> list[Divided]:
    """Return how many predictions each version made in each window."""
    found = list[Divided]()
    for run in runs:
        counts = run.results.get("rows_by_version")
        if not isinstance(counts, Mapping):
            counts = {run.version: run.rows}
        by_version = {f"version {name}": float(count) for name, count in counts.items()}
        found.append(Divided(run.at, address_of("models", model, "windows", run.id), by_version))
    return found
