"""Judges the quality that is estimated before labels are known."""

from dataclasses import asdict

from tidemill.digits import digits_apart
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality, Predictions, estimate
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.prediction_log import features_of
from tidemill.prediction_log.storage.log_schema import stacked
from tidemill.tasks.task_names import loss_name

__all__ = ["judge"]


def judge(window: WindowRows, config: QualityConfig) -> Judged:
    """Estimate the quality; labels of this window and the one before it check the estimate."""
    if window.too_few:
        return Judged(unjudged=window.too_few)
    known = stacked([window.before.labelled, window.labelled])
    found = estimate(
        window.reference,
        Predictions(window.own, features_of(window.own)),
        Predictions(known, features_of(known)),
        window.task,
        config,
        window.on_holdout,
        window.monitor.min_labelled,
    )
    measured = {name: value for name, value in asdict(found).items() if name != "doubtful"}
    return Judged(
        found=(_decay(found),) if found.decayed else (),
        unjudged=(found.note or "it could not be estimated") if found.decayed is None else None,
        results={"estimated_quality": measured},
        examples={"estimated_quality": found.doubtful},
    )


def _decay(found: EstimatedQuality) -> Finding:
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
