"""Says in a few words what a monitor run measured, from its recorded results. Imports no engine."""

from collections.abc import Mapping
from typing import Any

from tidemill.digits import digits_apart
from tidemill.tasks.task_names import loss_name

__all__ = ["measured"]

Facts = Mapping[str, Any]


def measured(results: Facts) -> dict[str, str]:
    """Return the figures of a run in words, by what they are: quality, drift, and what is not judged.

    >>> quality = {"metric": "neg_mae", "value": -11.5, "expected": -10.25}
    >>> measured({"quality": quality, "unjudged": {"feature_skew": "no row to compare"}})
    {'quality': 'mae 11.5000; 10.2500 on the hold-out', 'not judged': 'feature skew: no row to compare'}
    """
    drift = results.get("data_drift") or {}
    answers = [results.get(name) for name in ("prediction_drift", "class_drift")]
    unjudged = results.get("unjudged") or {}
    found = {
        "quality": _metric(results.get("quality")),
        "estimated quality": _metric(results.get("estimated_quality")),
        "largest drift": next(filter(None, map(_distance, drift.get("columns", ()))), None),
        "drift of answers": "; ".join(filter(None, map(_distance, answers))),
        **{name.replace("_", " "): text for name, text in (results.get("said") or {}).items()},
        "not judged": "; ".join(f"{kind.replace('_', ' ')}: {why}" for kind, why in unjudged.items()),
    }
    return {name: said for name, said in found.items() if said}


def _metric(found: Facts | None) -> str | None:
    """Return a metric with its interval, if it has one, and the value on the hold-out."""
    if found is None or found.get("value") is None:
        return None
    name, sign = _short(found["metric"]), 1
    if loss := loss_name(name):
        name, sign = loss, -1
    ends = [found[end] for end in ("low", "high") if found.get(end) is not None]
    expected = found.get("expected")
    others = [*ends, *([] if expected is None else [expected])]
    digits = digits_apart(*((found["value"], other) for other in others))
    said = f"{name} {sign * found['value']:.{digits}f}"
    if ends:
        said += f" ({' to '.join(f'{end:.{digits}f}' for end in sorted(sign * end for end in ends))})"
    return said if expected is None else f"{said}; {sign * expected:.{digits}f} on the hold-out"


def _short(metric: str) -> str:
    """Return a metric's name without the module that a metric of the project's own is in."""
    return metric.rpartition(":")[2]


def _distance(column: Facts | None) -> str | None:
    if column is None or column.get("value") is None:
        return None
    return f"{column['name']} {column['value']:.3g} (alert at {column['threshold']:.3g})"
