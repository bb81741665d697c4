"""Judges drift of the answers: of the version's own rows, as another version's say nothing about it."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from tidemill.monitoring.drift.answer_drift import compare_answers
from tidemill.monitoring.drift.answer_summary import known_quantiles, summary_of
from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison
from tidemill.monitoring.drift.quiet_columns import quiet_answers
from tidemill.monitoring.example_predictions import distance, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import PredictionDriftConfig
from tidemill.monitoring.windows.window_rows import WindowRows

__all__ = ["finding_of", "judge"]


def judge(window: WindowRows, config: PredictionDriftConfig) -> Judged:
    """Compare scores, and predicted classes where there are some, with those on the version's hold-out."""
    if window.too_few:
        return Judged(unjudged=window.too_few)
    drift = Comparison((), None, window.baseline.features.height, window.height)
    quiet, reference, sketched = None, window.baseline_of_answers, None
    if window.sketch is not None:
        sketched = window.sketch.column("score", window.version, others=False)
        quiet = quiet_answers(reference, window.sketch, window.version, config)
        window = window.only(("score", "answer"))
    if quiet is None:
        drift = compare_answers(drift, window.task, config, reference, window.own)
        summary = summary_of(window.task, reference, window.own)
    else:
        drift, summary = replace(drift, prediction=quiet), known_quantiles(reference, sketched)
    scores, classes = drift.prediction, drift.categories
    if not drift.of_answers:
        told = "answers have neither numbers nor text in each row: their drift is not measured"
        return Judged(unjudged=told)
    drifted = [each for each in drift.of_answers if each.drifted]
    odd = distance(window.own["score"], scores) if drifted and scores is not None else None
    ids = worst_ids(window.own["prediction_id"], odd) if drifted else []
    return Judged(
        found=(finding_of(drifted),) if drifted else (),
        results={
            "prediction_drift": None if scores is None else asdict(scores),
            "class_drift": None if classes is None else asdict(classes),
            "answers": summary,
        },
        examples={"prediction_drift": ids},
        columns=drift.of_answers,
    )


def finding_of(drifted: Sequence[ColumnDrift]) -> Finding:
    """Return the finding that answers have drifted."""
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
