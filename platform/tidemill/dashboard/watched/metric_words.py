"""Turns the quality that is on record of a window into figures as people read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tidemill.dashboard.charts.time_series import TimePoint
from tidemill.tasks.natural_metric import metric_of

__all__ = ["Figure", "estimated_figure", "measured_figure", "number_in"]

Facts = Mapping[str, Any]
_NORMAL = 1.96
"""Standard errors on either side of the middle 95 %."""
_PARTIAL = 0.5
"""With labels for a smaller share of a window's rows its figure is marked as partial."""
_OWN = 0.95
"""With a smaller share of a window's rows by the version that is judged, too."""


@dataclass(frozen=True)
class Figure:
    """The quality of a window, measured or estimated."""

    metric: str
    better: str
    value: float | None
    low: float | None
    """Of the middle 95 %, if it is known."""
    high: float | None
    expected: float | None
    """On the version's hold-out."""
    limit: float | None
    """Beyond it there is an alert."""
    doubt: str | None
    """Why it does not count as others do."""

    def point(self, at: Any) -> TimePoint:
        """Return it as a point of a picture."""
        return TimePoint(at, self.value, self.low, self.high, self.doubt)


def measured_figure(run: Any) -> Figure | None:
    """Return the quality that a run measured with labels; None if it measured none."""
    found = _facts(run.results, "quality")
    error = number_in(found, "standard_error")
    made = _figure(found, error)
    return None if made is None else _doubted(made, _why_partial(run) or _note(found, "decayed"))


def estimated_figure(run: Any) -> Figure | None:
    """Return the quality that a run estimated without labels; None if it estimated none."""
    found = _facts(run.results, "estimated_quality")
    made = _figure(found, None)
    return None if made is None else _doubted(made, _note(found, "decayed"))


def number_in(facts: Facts, name: str) -> float | None:
    """Return a number on record; None where there is none.

    >>> number_in({"value": 1, "note": "x"}, "value"), number_in({"note": "x"}, "note")
    (1.0, None)
    """
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _facts(results: Facts, name: str) -> Facts:
    found = results.get(name)
    return found if isinstance(found, Mapping) else {}


def _figure(found: Facts, error: float | None) -> Figure | None:
    value = number_in(found, "value")
    if value is None or not isinstance(found.get("metric"), str):
        return None
    metric = metric_of(found["metric"])
    ends = [number_in(found, "low"), number_in(found, "high")]
    if None in ends:
        ends = [None, None] if error is None else [value - _NORMAL * error, value + _NORMAL * error]
    low, high = _in_order([None if end is None else metric.sign * end for end in ends])
    expected, drop = number_in(found, "expected"), number_in(found, "max_drop")
    limit = None if expected is None or drop is None else expected - drop
    return Figure(
        metric.name,
        metric.better,
        metric.shown(value),
        low,
        high,
        metric.shown(expected),
        metric.shown(limit),
        None,
    )


def _in_order(ends: Sequence[float | None]) -> tuple[float | None, float | None]:
    known = sorted(end for end in ends if end is not None)
    return (known[0], known[-1]) if len(known) == len(ends) else (None, None)


def _doubted(made: Figure, doubt: str | None) -> Figure:
    return replace(made, doubt=doubt)


def _note(found: Facts, judged: str) -> str | None:
    """Return why a figure was not judged."""
    if found.get(judged) is not None:
        return None
    return str(found.get("note") or "it was not judged")


def _why_partial(run: Any) -> str | None:
    own = (run.results.get("rows_by_version") or {}).get(run.version)
    if isinstance(own, int) and own < _OWN * run.rows:
        return f"partial: {own:,} of {run.rows:,} predictions are by version {run.version}"
    rows = own if isinstance(own, int) else run.rows
    if rows and run.labelled < _PARTIAL * rows:
        return f"partial: the labels of {run.labelled:,} of {rows:,} predictions are known"
    return None
