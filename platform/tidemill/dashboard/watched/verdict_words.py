"""Says why a run raised an alert, in three parts: significance, effect and persistence.

The parts are those that an alert must have: a difference that chance alone does not bring about, that is
larger than the project allows, and that was found in as many runs in a row as the monitor asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.dashboard.watched.metric_words import number_in
from tidemill.monitoring.figure_history import figure_of
from tidemill.monitoring.run_explanation import explain_run
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

__all__ = ["KindVerdict", "kind_verdicts"]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class KindVerdict:
    """What one kind of check says of a window."""

    kind: str
    state: str
    """``alert``, ``ok`` or ``not judged``."""
    said: str
    chance: str | None
    """Significance: whether chance alone may have brought it about."""
    effect: str | None
    """How large it is, beside what is allowed."""
    persistence: str | None
    """In how many runs in a row it was found."""


def kind_verdicts(run: Any, alerts: Mapping[str, Any]) -> list[KindVerdict]:
    """Return what each kind says, what was alarming first.

    Args:
        run: a monitor run.
        alerts: that it found, by kind.
    """
    found = {each["kind"] for each in run.results.get("findings") or ()}
    unjudged = run.results.get("unjudged") or {}
    made = []
    for kind, said in explain_run(run.verdict, run.rows, run.results).items():
        state = "alert" if kind in found else "not judged" if kind in unjudged or kind == "run" else "ok"
        judged = state != "not judged"
        made.append(
            KindVerdict(
                kind,
                state,
                said.removeprefix("alert: ").removeprefix("not judged: "),
                _chance(kind, run.results) if judged else None,
                _effect(kind, run.results) if judged else None,
                _persistence(alerts.get(kind)) if kind in found else None,
            )
        )
    return sorted(made, key=lambda one: ("alert", "not judged", "ok").index(one.state))


def _effect(kind: str, results: Facts) -> str | None:
    """Return the figure beside its limit."""
    figure = figure_of(kind, results)
    if figure is None:
        return None
    value, limit = figure
    beside = "" if limit is None else f", alert at {_number(limit)}"
    metric = (results.get(kind) or {}).get("metric") if kind in ("quality", "estimated_quality") else None
    if isinstance(metric, str):
        return f"{metric_of(metric).name} {_number(value)}{beside}"
    if kind == "data_drift":
        return f"{value:.0%} of the features" + ("" if limit is None else f", alert at {limit:.0%}")
    if kind == "feature_drift":
        return f"{counted(int(value), 'feature')} alarming alone"
    return f"{_number(value)}{beside}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _chance(kind: str, results: Facts) -> str | None:
    """Return what is known of chance."""
    if kind in ("data_drift", "feature_drift", "prediction_drift", "slice_drift"):
        return _of_sample(results.get("sample"))
    found = results.get(kind)
    if not isinstance(found, Mapping):
        return None
    if kind == "quality":
        error, value, expected = (number_in(found, name) for name in ("standard_error", "value", "expected"))
        if not error or value is None or expected is None:
            return None
        return f"{abs(expected - value) / error:.1f} standard errors from the hold-out; 2.3 are needed"
    if kind == "estimated_quality":
        low, high = number_in(found, "low"), number_in(found, "high")
        return (
            None if low is None or high is None else "counts only if the whole interval is beyond the limit"
        )
    if kind == "slice_quality":
        p_values = [number_in(each, "p_value") for each in found.get("slices") or ()]
        known = [each for each in p_values if each is not None]
        return f"smallest p {min(known):.2g}, over all slices at once; below 0.01 counts" if known else None
    p_value = number_in(found, "p_value")
    return None if p_value is None else f"p {p_value:.2g}; below 0.01 counts"


def _of_sample(sample: Any) -> str | None:
    if not isinstance(sample, Mapping):
        return None
    before, now = sample.get("reference_rows"), sample.get("current_rows")
    if not isinstance(before, int) or not isinstance(now, int):
        return None
    return f"{now:,} rows beside {before:,}: distances that chance brings to so few rows do not count"


def _persistence(alert: Any) -> str | None:
    if alert is None:
        return None
    waits = "; it waits for more before it fires" if alert.status == "pending" else ""
    since = f"{alert.raised_at:%Y-%m-%d %H:%M} UTC"
    runs = counted(alert.found_in, "run") + (" in a row" if alert.found_in > 1 else "")
    return f"found in {runs} since {since}{waits}"
