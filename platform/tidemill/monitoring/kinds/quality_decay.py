"""Judges the quality of labelled answers beside that on the version's hold-out."""

from dataclasses import asdict, replace

from tidemill.digits import digits_apart
from tidemill.monitoring.example_predictions import error_of, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality.label_maturity import partial
from tidemill.monitoring.quality.labelled_quality import WindowQuality, held_out_errors, measure
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.tasks.natural_metric import metric_of

__all__ = ["judge"]


def judge(window: WindowRows, config: QualityConfig) -> Judged:
    """Measure the task's metrics; a drop beyond what is allowed and what chance brings is alarming."""
    least, rows = window.monitor.min_labelled, window.on_holdout("rows")
    errors = held_out_errors(window.reference, window.task)
    quality = measure(window.labelled, window.task, config, window.on_holdout, least, rows, errors)
    unjudged = quality.note or "it could not be measured"
    odd = error_of(window.labelled) if quality.decayed else None
    doubt = partial(window.labelled, window.own_height, window.span.start, window.span.end)
    finding = decay(quality, config) if quality.decayed else None
    if finding is not None and doubt is not None:
        finding = replace(finding, message=f"{finding.message}; {doubt}")
    return Judged(
        found=() if finding is None else (finding,),
        unjudged=unjudged if quality.decayed is None else None,
        results={"quality": {**asdict(quality), "drop": quality.drop, "partial": doubt}},
        examples={"quality": worst_ids(window.labelled["prediction_id"], odd)},
        notes=() if quality.wrong is None else (f"Labels that do not count: {quality.wrong}.",),
    )


def decay(quality: WindowQuality, config: QualityConfig) -> Finding:
    """Return the finding that the quality has decayed."""
    assert quality.value is not None
    digits = _digits(quality, config)
    metric = metric_of(quality.metric)
    name, sign = metric.name, metric.sign
    below, above, floor = ("below", "above", "floor") if sign > 0 else ("above", "below", "ceiling")
    compared = [f"over {quality.overall.rows:,} labelled predictions"]
    if quality.expected is not None and quality.drop is not None:
        side = below if quality.drop > 0 else above
        allowed = f" (allowed: {quality.max_drop:.4g})" if quality.max_drop is not None else ""
        expected = f"{sign * quality.expected:.{digits}f}"
        compared.append(f"{abs(quality.drop):.{digits}f} {side} the hold-out's {expected}{allowed}")
    if config.floor is not None and quality.value < config.floor:
        compared.append(f"{below} the {floor} of {sign * config.floor:g}")
    if quality.usual_growth is not None:
        compared.append(f"the usual errors have grown by {quality.usual_growth:.0%}")
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
            "floor": config.floor,
            "rows": quality.overall.rows,
        },
    )


def _digits(quality: WindowQuality, limits: QualityConfig) -> int:
    """Return how many digits tell the metric from what it is compared with."""
    assert quality.value is not None
    told = [(quality.value, limit) for limit in (quality.expected, limits.floor) if limit is not None]
    if quality.drop is not None and quality.max_drop is not None:
        told.append((quality.drop, quality.max_drop))
    return digits_apart(*told)
