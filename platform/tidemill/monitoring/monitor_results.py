"""Formats the results of a monitor run: a Markdown title for its report, and JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tidemill.errors import MonitoringError
from tidemill.features.skew.skew_report import SkewReport
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.findings import Findings
from tidemill.monitoring.measured_figures import measured
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality
from tidemill.monitoring.quality.labelled_quality import WindowQuality
from tidemill.monitoring.windows.time_windows import Window
from tidemill.state.tables import MonitorRun

__all__ = ["results_of", "title_of", "write_json"]


def results_of(
    monitor: Monitor,
    comparison: Comparison,
    quality: WindowQuality | None,
    findings: Findings,
    skew: SkewReport | None,
    estimated: EstimatedQuality | None,
) -> dict[str, Any]:
    """Return the results of a run as JSON values."""
    drift = monitor.data_drift
    return {
        "data_drift": {
            "share": comparison.share,
            "threshold": drift.share,
            "drifted": list(comparison.drifted),
            "broken": [column.name for column in comparison.broken],
            "not_compared": comparison.not_compared,
            "columns": [asdict(column) for column in comparison.by_excess],
        }
        if drift is not None
        else None,
        "prediction_drift": asdict(comparison.prediction) if comparison.prediction is not None else None,
        "class_drift": asdict(comparison.categories) if comparison.categories is not None else None,
        "quality": {**asdict(quality), "drop": quality.drop} if quality is not None else None,
        "estimated_quality": asdict(estimated) if estimated is not None else None,
        "feature_skew": skew.as_dict() if skew is not None else None,
        "findings": [{"kind": each.kind, "message": each.message} for each in findings.found],
        "unjudged": dict(findings.unjudged),
        "sample": {"reference_rows": comparison.reference_rows, "current_rows": comparison.current_rows},
    }


def title_of(
    monitor: Monitor, run: MonitorRun, own: int, quality: WindowQuality | None, skew: SkewReport | None
) -> str:
    """Return the title of a report in Markdown; ``own`` is the number of the version's own predictions.

    The figures are those of the run's results.
    """
    lines = [
        f"# {monitor.name}: {run.model} version {run.version}",
        f"Window: {Window(run.window_start, run.window_end)}. "
        f"{run.rows:,} predictions, {own:,} of them by version {run.version}; "
        f"the labels of {run.labelled:,} of these are known.",
        f"Reference: what version {run.version} was trained on. Distances: for "
        "numbers Wasserstein's, in standard deviations of the reference; for categories Jensen–Shannon's.",
    ]
    lines += [f"{name.capitalize()}: {said}." for name, said in measured(run.results).items()]
    if quality is not None and quality.wrong is not None:
        lines.append(f"Labels that do not count: {quality.wrong}.")
    if skew is not None:
        lines.append(
            f"Served beside what training would see: {skew.verdict}; {len(skew.skewed)} of "
            f"{len(skew.features)} features differ in {skew.threshold:.1%} of their rows or more."
        )
    return "\n\n".join(lines)


def write_json(path: Path, run: MonitorRun) -> None:
    """Write a run and its results.

    Raises:
        MonitoringError: the file cannot be written.
    """
    facts = {
        "id": run.id,
        "monitor": run.monitor,
        "model": run.model,
        "version": run.version,
        "window": [run.window_start.isoformat(), run.window_end.isoformat()],
        "rows": run.rows,
        "labelled": run.labelled,
        "verdict": run.verdict,
        **run.results,
    }
    try:
        path.write_text(
            json.dumps(facts, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise MonitoringError(
            f"the results cannot be written: {path}: {error.strerror or error}", hint="free space there"
        ) from error
