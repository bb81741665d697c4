"""Says of each kind that a monitor watches how near its last run came to an alert. Imports no engine."""

from collections.abc import Mapping
from typing import Any

from tidemill.digits import digits_apart
from tidemill.monitoring.measured_figures import within_chance
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of

__all__ = ["explain_run"]

Facts = Mapping[str, Any]
_NAMED = 3
_DRIFT = ("data_drift", "prediction_drift", "multivariate_drift", "slice_drift")


def explain_run(verdict: str, rows: int, results: Facts) -> dict[str, str]:
    """Return, for each kind that a run watched, what it found, or why it raised no alert.

    Args:
        verdict: of the run.
        rows: predictions in its window.
        results: as they are on record.

    >>> drift = {"share": 0.0, "threshold": 0.3, "drifted": [], "columns": [{"name": "wind", "value": 0.02,
    ...          "threshold": 0.1, "broken": None, "note": None}]}
    >>> explain_run("ok", 900, {"data_drift": drift, "unjudged": {"quality": "12 labels, 500 are needed"}})
    {'data_drift': 'none of 1 feature has drifted, alert at 30%; nearest: wind 0.02 of 0.1', \
'quality': 'not judged: 12 labels, 500 are needed'}
    """
    if verdict in ("failed", "missed"):
        return {"run": str(results.get("error", verdict))}
    if verdict == "too_few":
        least = results.get("min_rows")
        needed = f", {least:,} are needed" if isinstance(least, int) else ""
        return {"run": f"nothing was judged: {counted(rows, 'prediction')} in the window{needed}"}
    said = {
        "data_drift": _of_data(results.get("data_drift")),
        "prediction_drift": _of_answers(results),
        "quality": _of_quality(results.get("quality")),
        "estimated_quality": _of_estimate(results.get("estimated_quality")),
        "feature_skew": _of_skew(results.get("feature_skew")),
    }
    found = {kind: text for kind, text in said.items() if text} | (results.get("said") or {})
    if against := results.get("against"):
        found |= {kind: f"{found[kind]}; from {against['what']}" for kind in _DRIFT if kind in found}
    found |= {kind: f"not judged: {why}" for kind, why in (results.get("unjudged") or {}).items()}
    return found | {each["kind"]: f"alert: {each['message']}" for each in results.get("findings", ())}


def _of_data(drift: Facts | None) -> str | None:
    if not drift or not drift.get("columns"):
        return None
    columns, many = drift["columns"], len(drift["drifted"])
    said = f"{many or 'none'} of {counted(len(columns), 'feature')} {'have' if many > 1 else 'has'} drifted"
    share = f" ({drift['share']:.0%})" if many else ""
    said += f"{share}, alert at {drift['threshold']:.0%}"
    near = sorted(filter(_has_value, columns), key=_nearness, reverse=True)
    order = "nearest"
    if weighty := [one for one in columns if one.get("impact") is not None]:
        near, order = weighty, "by impact"
    named = "; ".join(map(_in_words, near[:_NAMED]))
    said = f"{said}; {order}: {named}" if named else said
    by_distance = drift.get("ordered_by_distance") if many else None
    return f"{said} (by distance, not by impact: {by_distance})" if by_distance else said


def _in_words(column: Facts) -> str:
    far = "gone" if column.get("value") is None else f"{column['value']:.3g} of {column['threshold']:.3g}"
    impact = column.get("impact")
    weight = "" if impact is None else f" (impact {impact:.2g})"
    return f"{column['name']} {far}{weight}" + ("" if column.get("value") is None else within_chance(column))


def _has_value(column: Facts) -> bool:
    return column.get("value") is not None and bool(column.get("threshold"))


def _nearness(column: Facts) -> float:
    return float(column["value"] / column["threshold"])


def _of_answers(results: Facts) -> str | None:
    measured = [results.get(name) for name in ("prediction_drift", "class_drift")]
    said = [
        f"{each['name']} {each['value']:.3g} of {each['threshold']:.3g}{within_chance(each)}"
        for each in measured
        if each is not None and _has_value(each)
    ]
    return "; ".join(said) or None


def _of_quality(quality: Facts | None) -> str | None:
    if not quality or quality.get("value") is None:
        return None
    metric = metric_of(quality["metric"])
    value, expected, drop = quality["value"], quality.get("expected"), quality.get("drop")
    if expected is None or drop is None:
        return f"{metric.name} {metric.shown(value):.4g}; no value on the hold-out is on record"
    digits = digits_apart((value, expected))
    side = "worse" if drop > 0 else "better"
    said = f"{metric.said(value, digits)}, {abs(drop):.{digits}f} {side} than on the hold-out"
    allowed, error = quality.get("max_drop"), quality.get("standard_error")
    said += f"; allowed: {allowed:.4g}" if allowed is not None else ""
    if allowed is not None and error and drop > allowed:
        said += f"; chance alone may bring about that much (standard error {error:.3g})"
    return f"{said}; {quality['partial']}" if quality.get("partial") else said


def _of_estimate(estimate: Facts | None) -> str | None:
    if not estimate or estimate.get("value") is None:
        return None
    metric = metric_of(estimate["metric"])
    ends = sorted(metric.sign * estimate[end] for end in ("low", "high") if estimate.get(end) is not None)
    span = f" ({' to '.join(f'{end:.4g}' for end in ends)})" if ends else ""
    expected = estimate.get("expected")
    beside = f"; {metric.shown(expected):.4g} on the hold-out" if expected is not None else ""
    return f"{metric.name} {metric.shown(estimate['value']):.4g}{span}{beside}"


def _of_skew(skew: Facts | None) -> str | None:
    if not skew or not skew.get("features"):
        return None
    worst = max(skew["features"], key=lambda each: each.get("share") or 0.0)
    threshold = skew.get("threshold")
    alert = f", alert at {threshold:.1%}" if threshold is not None else ""
    return f"at most {worst.get('share') or 0.0:.1%} of the rows ({worst['feature']}){alert}"
