"""Judges a comparison by a monitor's thresholds, and describes what is alarming. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from tidemill.digits import digits_apart
from tidemill.features.skew.skew_report import FeatureSkew, SkewReport
from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison
from tidemill.monitoring.monitor_config import Kind, Monitor, QualityConfig
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality
from tidemill.monitoring.quality.labelled_quality import WindowQuality
from tidemill.tasks.task_names import loss_name

__all__ = ["KINDS", "NO_RUN", "Finding", "Findings", "judge_comparison"]

KINDS: tuple[Kind, ...] = get_args(Kind)
NO_RUN: Final = "no_run"
"""The kind of an alert about a monitor that did not run."""

_NAMED = 5


@dataclass(frozen=True)
class Finding:
    """Something alarming."""

    kind: Kind | Literal["no_run"]
    message: str
    """One sentence with its numbers."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The numbers, for machines."""


@dataclass(frozen=True)
class Findings:
    """The results of a monitor run."""

    found: tuple[Finding, ...]
    judged: frozenset[Kind]
    """The kinds that could be judged. Only for these does the absence of a finding mean that all is well."""
    unjudged: Mapping[Kind, str]
    """The kinds that could not be judged, and why."""


def judge_comparison(
    monitor: Monitor,
    comparison: Comparison,
    quality: WindowQuality | None,
    unjudged: Mapping[Kind, str],
    skew: SkewReport | None = None,
    estimated: EstimatedQuality | None = None,
) -> Findings:
    """Judge a comparison by a monitor's thresholds.

    Args:
        monitor: the thresholds.
        comparison: the drift of the window.
        quality: the quality of the answers; None if it is not monitored.
        unjudged: kinds that are already known not to be judged, and why.
        skew: the differences between served and training features; None if they are not monitored.
        estimated: the quality estimated without labels; None if it is not monitored.
    """
    reasons, found = dict(unjudged), list[Finding]()
    if monitor.data_drift is not None:
        if not comparison.columns:
            reasons.setdefault("data_drift", "no features to compare")
            reasons.setdefault("feature_drift", "no features to compare")
        if comparison.columns and comparison.share >= monitor.data_drift.share:
            found.append(_data_drift(comparison, monitor.data_drift.share))
        if comparison.broken:
            found.append(_feature_drift(comparison))
    if drifted := [each for each in comparison.of_answers if each.drifted]:
        found.append(_prediction_drift(drifted))
    if monitor.quality is not None and quality is not None:
        if quality.decayed is None:
            reasons.setdefault("quality", quality.note or "it could not be measured")
        elif quality.decayed:
            found.append(_decay(quality, monitor))
    if estimated is not None and estimated.decayed is None:
        reasons.setdefault("estimated_quality", estimated.note or "it could not be estimated")
    elif estimated is not None and estimated.decayed:
        found.append(_estimated_decay(estimated))
    if monitor.feature_skew is not None and skew is not None:
        skewed = [each for each in skew.skewed if each.rows >= monitor.min_rows]
        if skewed:
            found.append(_skew(skew, skewed))
        elif few := _too_few_to_compare(skew, monitor.min_rows):
            reasons.setdefault("feature_skew", few)
    watched: dict[Kind, object] = {
        "data_drift": monitor.data_drift,
        "feature_drift": monitor.data_drift,
        "prediction_drift": monitor.prediction_drift,
        "quality": monitor.quality,
        "estimated_quality": monitor.estimated_quality,
        "feature_skew": monitor.feature_skew,
    }
    judged = frozenset(kind for kind in KINDS if watched[kind] is not None and kind not in reasons)
    return Findings(tuple(each for each in found if each.kind in judged), judged, reasons)


def _data_drift(comparison: Comparison, threshold: float) -> Finding:
    names = comparison.drifted
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return Finding(
        "data_drift",
        f"{len(names)} of {len(comparison.columns)} features have drifted "
        f"({comparison.share:.0%}, alert at {threshold:.0%}): {listed}",
        {"share": comparison.share, "threshold": threshold, "drifted": list(names)},
    )


def _feature_drift(comparison: Comparison) -> Finding:
    broken = comparison.broken
    listed = "; ".join(f"{each.name} ({each.broken})" for each in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    verb = "is" if len(broken) == 1 else "are"
    return Finding(
        "feature_drift",
        f"{len(broken)} of {len(comparison.columns)} features {verb} far from what the model was trained on: "
        f"{listed}{more}",
        {
            "features": {each.name: each.broken for each in broken},
            "faults": [each.name for each in broken if each.at_fault],
        },
    )


def _prediction_drift(drifted: Sequence[ColumnDrift]) -> Finding:
    names = {"class": "predicted classes"}
    said = [f"the {names.get(each.name, 'predictions')} have drifted: {_distance(each)}" for each in drifted]
    first = drifted[0]
    numbers = {
        "value": first.value,
        "threshold": first.threshold,
        "reference_mean": first.reference_mean,
        "current_mean": first.current_mean,
    }
    return Finding("prediction_drift", "; ".join(said), numbers)


def _distance(drift: ColumnDrift) -> str:
    before, now = drift.reference_mean, drift.current_mean
    means = f", mean {before:.3f} before, {now:.3f} now" if before is not None and now is not None else ""
    if drift.value is None:
        return f"they cannot be compared: {drift.note}"
    distance = f"{drift.value:.3f}"
    return f"distance {distance} (alert at {drift.threshold:g}){means}"


def _digits(quality: WindowQuality, limits: QualityConfig) -> int:
    """Return how many digits tell the metric from what it is compared with."""
    assert quality.value is not None
    told = [(quality.value, limit) for limit in (quality.expected, limits.floor) if limit is not None]
    if quality.drop is not None and quality.max_drop is not None:
        told.append((quality.drop, quality.max_drop))
    return digits_apart(*told)


def _decay(quality: WindowQuality, monitor: Monitor) -> Finding:
    assert monitor.quality is not None
    assert quality.value is not None
    digits = _digits(quality, monitor.quality)
    loss = loss_name(quality.metric)
    name, sign = (quality.metric, 1) if loss is None else (loss, -1)
    below, above, floor = ("below", "above", "floor") if sign > 0 else ("above", "below", "ceiling")
    compared = [f"over {quality.overall.rows:,} labelled predictions"]
    if quality.expected is not None and quality.drop is not None:
        side = below if quality.drop > 0 else above
        allowed = f" (allowed: {quality.max_drop:g})" if quality.max_drop is not None else ""
        expected = f"{sign * quality.expected:.{digits}f}"
        compared.append(f"{abs(quality.drop):.{digits}f} {side} the hold-out's {expected}{allowed}")
    if monitor.quality.floor is not None and quality.value < monitor.quality.floor:
        compared.append(f"{below} the {floor} of {sign * monitor.quality.floor:g}")
    error = f" (± {quality.standard_error:.3f})" if quality.standard_error is not None else ""
    return Finding(
        "quality",
        f"{name} is {sign * quality.value:.{digits}f}{error} {', '.join(compared)}",
        {
            "metric": quality.metric,
            "value": quality.value,
            "standard_error": quality.standard_error,
            "expected": quality.expected,
            "drop": quality.drop,
            "max_drop": quality.max_drop,
            "floor": monitor.quality.floor,
            "rows": quality.overall.rows,
        },
    )


def _estimated_decay(found: EstimatedQuality) -> Finding:
    loss = loss_name(found.metric)
    name, sign = (found.metric, 1) if loss is None else (loss, -1)
    value, low, high = (sign * float(number) for number in (found.value, found.low, found.high))  # type: ignore[arg-type]
    digits = digits_apart(
        (value, low), (value, high), *([] if found.expected is None else [(high, sign * found.expected)])
    )
    span = " to ".join(f"{end:.{digits}f}" for end in sorted((low, high)))
    said = f"{name} will be about {value:.{digits}f} ({span}) "
    said += f"for {found.rows:,} predictions whose labels are not known yet"
    if found.expected is not None:
        said += f"; on the hold-out it was {sign * found.expected:.{digits}f}"
    details = {
        name: getattr(found, name)
        for name in ("metric", "value", "low", "high", "expected", "max_drop", "rows")
    }
    return Finding("estimated_quality", said, details)


def _too_few_to_compare(skew: SkewReport, least: int) -> str | None:
    """Return a message that names the features with too few comparable rows to judge."""
    few = [each for each in skew.features if each.rows < least]
    if not few:
        return None
    worst = min(few, key=lambda each: each.rows)
    newest = skew.reaches.get(worst.view)
    upto = f", whose newest row in the offline store is of {newest:%Y-%m-%d %H:%M} UTC" if newest else ""
    return (
        f"{len(few)} of {len(skew.features)} features: {worst.rows} predictions can be compared yet, "
        f"{least} are needed (view {worst.view}{upto})"
    )


def _skew(skew: SkewReport, skewed: Sequence[FeatureSkew]) -> Finding:
    listed = "; ".join(map(_in_words, skewed[:_NAMED]))
    more = f"; and {len(skewed) - _NAMED} more" if len(skewed) > _NAMED else ""
    return Finding(
        "feature_skew",
        f"{len(skewed)} of {len(skew.features)} features were served with other values than training "
        f"would see (alert at {skew.threshold:.1%} of the rows): {listed}{more}",
        {
            "threshold": skew.threshold,
            "skewed": [
                {
                    "feature": each.feature,
                    "view": each.view,
                    "share": each.share,
                    "since": each.since.isoformat() if each.since else None,
                    "causes": [cause.name for cause in each.causes],
                }
                for each in skewed
            ],
        },
    )


def _in_words(each: FeatureSkew) -> str:
    earlier = " or earlier" if each.or_earlier else ""
    since = f" since {each.since:%Y-%m-%d %H:%M}{earlier}" if each.since else ""
    cause = each.causes[0]
    return f"{each.feature} in {each.share:.1%}{since}: {cause.name} ({cause.view})"
