"""Says in a few words what a monitor run measured, from its recorded results. Imports no engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.digits import digits_apart
from tidemill.tasks.natural_metric import metric_of

__all__ = ["measured", "within_chance"]

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
        "largest drift": _largest(drift.get("columns", ())),
        "drift of answers": "; ".join(filter(None, map(_distance, answers))),
        **{name.replace("_", " "): text for name, text in (results.get("said") or {}).items()},
        "not judged": "; ".join(f"{kind.replace('_', ' ')}: {why}" for kind, why in unjudged.items()),
    }
    return {name: said for name, said in found.items() if said}


def _metric(found: Facts | None) -> str | None:
    """Return a metric with its interval, if it has one, and the value on the hold-out."""
    if found is None or found.get("value") is None:
        return None
    metric = metric_of(found["metric"])
    ends = [found[end] for end in ("low", "high") if found.get(end) is not None]
    expected = found.get("expected")
    others = [*ends, *([] if expected is None else [expected])]
    digits = digits_apart(*((found["value"], other) for other in others))
    said = metric.said(found["value"], digits)
    if ends:
        said += f" ({' to '.join(f'{end:.{digits}f}' for end in sorted(metric.sign * end for end in ends))})"
    return said if expected is None else f"{said}; {metric.number(expected, digits)} on the hold-out"


def _largest(columns: Sequence[Facts]) -> str | None:
    """Return the feature that moved most, in its threshold; from there on it counts as drifted."""
    known = [each for each in columns if each.get("value") is not None and each.get("threshold")]
    if not known:
        return None
    most = max(known, key=lambda each: float(each["value"] / each["threshold"]))
    return f"{most['name']} {most['value']:.3g} (drifted from {most['threshold']:.3g}){within_chance(most)}"


def _distance(column: Facts | None) -> str | None:
    if column is None or column.get("value") is None:
        return None
    said = f"{column['name']} {column['value']:.3g} (alert at {column['threshold']:.3g})"
    return said + within_chance(column)


def within_chance(column: Facts) -> str:
    """Return why a distance beyond its threshold is no finding, or an empty text."""
    beyond = column.get("threshold") is not None and column["value"] >= column["threshold"]
    return ", within chance" if beyond and column.get("drifted") is False else ""
