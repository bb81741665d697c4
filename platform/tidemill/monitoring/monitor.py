"""Runs monitors: reads a window of the prediction log, compares, reports, and keeps records and alerts.

Which rows, when more than one version served in the window:

- the reference is that of the champion, the version that serves at the end of the window;
- data drift looks at all rows of the window: what is asked does not depend on who answers;
- feature skew does so, too: what is served does not depend on it either. What the offline store does not
  have yet is not judged, and a feature store that fails leaves the skew unjudged, not the rest;
- prediction drift and quality look at the champion's own rows only: another version's scores say nothing
  about it. With too few of those they are not judged, and the results say so.

The report's files are written first, then the run and its alerts in one transaction: a run that is killed in
between leaves a file that no record names, and is simply made again.
"""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import func, select

from tidemill.clock import utc
from tidemill.errors import ConfigError, FeatureError, MonitoringError, TidemillError
from tidemill.features.feast_session import open_store, repository
from tidemill.features.personal_fields import personal_fields
from tidemill.features.skew.skew_report import SkewReport
from tidemill.ids import new_id
from tidemill.monitoring.alerts import record
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.findings import Findings, Kind, find
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.monitoring.quality.labelled_quality import Quality, measure
from tidemill.monitoring.quality.skew_monitor import Slice, measure_skew
from tidemill.monitoring.reports.evidently_report import compare
from tidemill.monitoring.windows.time_windows import Window, due_at, window_before
from tidemill.prediction_log.prediction_log import FEATURE_PREFIX, read_labelled, read_predictions
from tidemill.project import Project
from tidemill.registry.versions.model_versions import ModelVersion, champion, champion_version, load_reference
from tidemill.state import State
from tidemill.state.tables import MonitorRun

__all__ = ["evaluate", "run_due"]


def evaluate(project: Project, state: State, monitor: Monitor, now: datetime) -> MonitorRun:
    """Evaluate a monitor over the window that ends at ``now``; labels known later do not count.

    Args:
        project: whose champion and prediction log.
        state: where the run and its alerts are recorded.
        monitor: what is compared.
        now: event time, aware; also the end of the window.

    Returns:
        The recorded run. Verdict ``too_few``: fewer rows than ``min_rows``; nothing was judged, and there is
        no report. ``alert``: at least one kind is alarming. ``ok``: nothing that was judged is.

    Raises:
        MonitoringError: nothing serves, or the report could not be made.
        RegistryError: the version has no reference. In either case nothing is recorded.
    """
    now, serving = utc(now), champion(project)
    if serving is None:
        raise MonitoringError(
            f"monitor {monitor.name!r} has nothing to watch: {project.model} has no champion",
            hint="train and promote one: `tidemill run --promote`",
        )
    window = window_before(now, monitor.window)
    log = project.predictions, project.model, window.start, window.end
    rows = read_predictions(*log)
    labelled = read_labelled(*log, known_by=now).filter(pl.col("version") == serving.version)
    run = MonitorRun(
        id=new_id("mon"),
        monitor=monitor.name,
        model=project.model,
        version=serving.version,
        window_start=window.start,
        window_end=window.end,
        rows=rows.height,
        labelled=labelled.height,
        verdict="too_few",
        results={"rows_by_version": _by_version(rows), "min_rows": monitor.min_rows},
        report_path=None,
        at=now,
    )
    findings = Findings((), frozenset(), {})
    if rows.height >= monitor.min_rows:
        findings = _judge(project, monitor, serving, run, rows, labelled)
    with state.transaction() as session:
        session.add(run)
        session.flush()
        record(session, run, findings, monitor.severity)
    return run


def _compared(project: Project, reference: pl.DataFrame) -> list[str]:
    """Return the features to compare: not the personal ones, which are neither logged nor reported."""
    hidden = {"score", project.config.dataset.label}
    if (repository(project) / "feature_store.yaml").is_file():
        hidden |= personal_fields(open_store(project))
    return [name for name in reference.columns if name not in hidden]


def _judge(
    project: Project,
    monitor: Monitor,
    serving: ModelVersion,
    run: MonitorRun,
    rows: pl.DataFrame,
    labelled: pl.DataFrame,
) -> Findings:
    """Compare, write the report, and complete ``run``."""
    reference = load_reference(project, run.version)
    own = rows.filter(pl.col("version") == run.version).height
    unjudged: dict[Kind, str] = {}
    if monitor.prediction_drift is not None and own < monitor.min_rows:
        unjudged["prediction_drift"] = f"{own} predictions by this version, {monitor.min_rows} are needed"
    quality = None
    if monitor.quality is not None:
        expected = serving.metrics.get(f"holdout_{monitor.quality.metric}")
        quality = measure(labelled, monitor.quality, expected, monitor.min_labelled)
    skew = _measure_skew(project, monitor, run, unjudged)
    both_labels = quality is not None and labelled["label"].n_unique() == 2
    path = project.reports / monitor.name / f"{run.window_end:%Y-%m-%d_%H%M}-v{run.version}-{run.id}.html"
    comparison = compare(
        reference,
        _as_reference(rows, run.version),
        features=_compared(project, reference),
        data_drift=monitor.data_drift,
        prediction_drift=None if "prediction_drift" in unjudged else monitor.prediction_drift,
        labelled=labelled.select("score", "label") if both_labels else None,
        title=_title(monitor, run, own, quality, skew),
        path=path,
    )
    findings = find(monitor, comparison, quality, unjudged, skew)
    run.verdict = "alert" if findings.found else "ok"
    run.results = {**run.results, **_results(monitor, comparison, quality, findings, skew)}
    run.report_path = path.relative_to(project.root).as_posix()
    _write_json(path.with_suffix(".json"), run)
    return findings


def _measure_skew(
    project: Project, monitor: Monitor, run: MonitorRun, unjudged: dict[Kind, str]
) -> SkewReport | None:
    """Compare what was served with what training would see, or say in ``unjudged`` why that failed."""
    if monitor.feature_skew is None:
        return None
    wanted = Slice(run.window_start, run.window_end)
    try:
        return measure_skew(project, wanted, monitor.feature_skew.share, monitor.feature_skew.tolerance)
    except (FeatureError, ConfigError) as error:
        unjudged["feature_skew"] = str(error)
        return None


def _as_reference(rows: pl.DataFrame, version: str) -> pl.DataFrame:
    """Give the rows with the reference's column names, and no score that is not by ``version``."""
    return rows.select(
        pl.when(pl.col("version") == version).then(pl.col("score")).alias("score"),
        pl.col(f"^{FEATURE_PREFIX}.*$").name.replace(f"^{FEATURE_PREFIX}", ""),
    )


def _by_version(rows: pl.DataFrame) -> dict[str, int]:
    counts = rows.group_by("version").len().sort("version")
    return {str(version): int(count) for version, count in counts.iter_rows()}


def _title(
    monitor: Monitor, run: MonitorRun, own: int, quality: Quality | None, skew: SkewReport | None
) -> str:
    lines = [
        f"# {monitor.name}: {run.model} version {run.version}",
        f"Window: {Window(run.window_start, run.window_end)}. "
        f"{run.rows:,} predictions, {own:,} of them by version {run.version}; "
        f"the labels of {run.labelled:,} of these are known.",
        f"Reference: what version {run.version} was trained on. Distances: for "
        "numbers Wasserstein's, in standard deviations of the reference; for categories Jensen–Shannon's.",
    ]
    if quality is not None and quality.value is not None:
        expected = f"; on the hold-out it was {quality.expected:.4f}" if quality.expected is not None else ""
        lines.append(f"Quality: {quality.metric} {quality.value:.4f}{expected}.")
    if skew is not None:
        lines.append(
            f"Served beside what training would see: {skew.verdict}; {len(skew.skewed)} of "
            f"{len(skew.features)} features differ in {skew.threshold:.1%} of their rows or more."
        )
    return "\n\n".join(lines)


def _results(
    monitor: Monitor,
    comparison: Comparison,
    quality: Quality | None,
    findings: Findings,
    skew: SkewReport | None,
) -> dict[str, Any]:
    """Tell what a run found, JSON-safe."""
    drift = monitor.data_drift
    return {
        "data_drift": {
            "share": comparison.share,
            "threshold": drift.share,
            "drifted": list(comparison.drifted),
            "columns": [asdict(column) for column in comparison.by_excess],
        }
        if drift is not None
        else None,
        "prediction_drift": asdict(comparison.prediction) if comparison.prediction is not None else None,
        "quality": {**asdict(quality), "drop": quality.drop} if quality is not None else None,
        "feature_skew": skew.as_dict() if skew is not None else None,
        "findings": [{"kind": each.kind, "message": each.message} for each in findings.found],
        "unjudged": dict(findings.unjudged),
        "sample": {
            "reference_rows": comparison.reference_rows,
            "reference_sampled": comparison.reference_sampled,
            "current_rows": comparison.current_rows,
            "current_sampled": comparison.current_sampled,
            "seed": comparison.seed,
        },
        "seconds": round(comparison.seconds, 3),
    }


def _write_json(path: Path, run: MonitorRun) -> None:
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


def run_due(project: Project, state: State, now: datetime) -> list[MonitorRun]:
    """Evaluate every monitor that is due at ``now``, each for the moment at which it became due.

    A monitor that fails does not keep the others from running. As long as nothing serves, none is due.

    Raises:
        ConfigError: ``monitoring/monitors.yaml`` is wrong.
        TidemillError: the first failure, after all have had their chance; the failed ones stay due.
    """
    monitors = load_monitors(project)
    if not monitors or champion_version(project) is None:
        return []
    runs: list[MonitorRun] = []
    failure: TidemillError | None = None
    for monitor in monitors:
        due = due_at(monitor.every, _last_run_at(state, project.model, monitor.name, now), now)
        if due is None:
            continue
        try:
            runs.append(evaluate(project, state, monitor, due))
        except TidemillError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return runs


def _last_run_at(state: State, model: str, monitor: str, now: datetime) -> datetime | None:
    query = select(func.max(MonitorRun.at)).where(
        MonitorRun.model == model, MonitorRun.monitor == monitor, MonitorRun.at <= now
    )
    with state.transaction() as session:
        return session.scalar(query)
