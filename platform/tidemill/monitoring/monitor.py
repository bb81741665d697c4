"""Evaluates a monitor: reads a window of the prediction log, compares, reports, and keeps records and alerts.

Which rows, when more than one version served in the window:

- the reference is that of the champion, the version that serves at the end of the window;
- data drift uses all rows of the window, because inputs do not depend on the version that answers. Rows of a
  version that was made for other features do not count as missing these;
- feature skew uses all rows too, because served features do not depend on the version either. Values that
  the offline store does not have yet are not judged; if the feature store fails, only the skew is unjudged;
- prediction drift and quality use only the champion's own rows, because another version's scores say nothing
  about it. With too few such rows they are not judged, and the results say so.

A report is made when something is alarming or when it is requested, because it takes longer than the verdict,
which does not depend on it. Its files are written first, then the run and its alerts in one transaction: a
run that is killed in between leaves a file that no record names, and is made again.
"""

from collections.abc import Callable
from datetime import datetime

import polars as pl
from sqlalchemy import delete
from sqlalchemy.orm import Session

from tidemill.clock import utc
from tidemill.errors import ConfigError, FeatureError, MonitoringError
from tidemill.features.feast_session import has_repository
from tidemill.features.project_features import hidden_fields
from tidemill.features.skew.skew_report import SkewReport
from tidemill.ids import new_id
from tidemill.monitoring.drift.answer_drift import compare_answers
from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison, compare
from tidemill.monitoring.example_predictions import example_ids
from tidemill.monitoring.findings import Findings, judge_comparison
from tidemill.monitoring.monitor_config import Kind, Monitor, unknown_features
from tidemill.monitoring.monitor_results import results_of, title_of
from tidemill.monitoring.quality.estimated_quality import EstimatedQuality, Predictions, estimate
from tidemill.monitoring.quality.labelled_quality import Expected, WindowQuality, measure
from tidemill.monitoring.quality.skew_monitor import LogSlice, measure_skew
from tidemill.monitoring.window_report import report_window
from tidemill.monitoring.windows.time_windows import window_before
from tidemill.prediction_log.prediction_log import features_of, read_labelled, read_predictions
from tidemill.project import Project
from tidemill.registry.versions.model_versions import ModelVersion, champion, load_reference
from tidemill.state import State
from tidemill.state.tables import MonitorRun
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["FAILED", "MISSED", "RecordAlerts", "evaluate", "forget_failures", "new_run", "nothing_serves"]

FAILED = "failed"
"""Verdict of a run that failed."""
MISSED = "missed"
"""Verdict in place of the runs that a monitor should have made and did not."""
RecordAlerts = Callable[[Session, MonitorRun, Findings, Monitor], object]
"""Raises, sees again and resolves alerts in the transaction that records a run."""


def evaluate(
    project: Project,
    state: State,
    monitor: Monitor,
    now: datetime,
    record_alerts: RecordAlerts,
    with_report: bool = False,
) -> MonitorRun:
    """Evaluate a monitor over the window that ends at ``now``; labels known later do not count.

    Args:
        project: the project with the champion and the prediction log.
        state: the records, to which the run and its alerts are written.
        monitor: the monitor to evaluate.
        now: event time, aware; also the end of the window.
        record_alerts: called in the transaction that records the run.
        with_report: whether to make a report even if nothing is alarming.

    Returns:
        The recorded run. Verdict ``too_few``: fewer rows than ``min_rows``; nothing was judged, and there is
        no report. ``alert``: at least one kind is alarming. ``ok``: no judged kind is alarming.

    Raises:
        MonitoringError: no version serves.
        RegistryError: the version has no reference.
        ServingError: the log cannot be read. After any of these errors nothing is recorded.
    """
    now, serving = utc(now), champion(project)
    if serving is None:
        raise nothing_serves(project)
    window = window_before(now, monitor.window)
    span = project.predictions, project.model, window.start, window.end
    rows = read_predictions(*span)
    labelled = read_labelled(*span, known_by=now).filter(pl.col("version") == serving.version)
    run = new_run(project, monitor, serving.version, now)
    run.rows, run.labelled = rows.height, labelled.height
    run.results = {"rows_by_version": _by_version(rows), "min_rows": monitor.min_rows}
    findings = Findings((), frozenset(), {})
    if rows.height >= monitor.min_rows:
        findings = _judge(project, monitor, serving, run, rows, labelled, with_report)
    with state.transaction() as session:
        forget_failures(session, run)
        session.add(run)
        session.flush()
        record_alerts(session, run, findings, monitor)
    return run


def nothing_serves(project: Project) -> MonitoringError:
    """Return the error that no version serves, so there is nothing to monitor."""
    return MonitoringError(
        f"there is nothing to watch: {project.model} has no champion",
        hint="train and promote one: `tidemill run --promote`",
    )


def new_run(project: Project, monitor: Monitor, version: str, now: datetime) -> MonitorRun:
    """Return a run of a monitor over the window that ends at ``now``, without a result yet."""
    window = window_before(now, monitor.window)
    return MonitorRun(
        id=new_id("mon"),
        monitor=monitor.name,
        model=project.model,
        version=version,
        window_start=window.start,
        window_end=window.end,
        rows=0,
        labelled=0,
        verdict="too_few",
        results={},
        report_path=None,
        at=now,
    )


def forget_failures(session: Session, run: MonitorRun) -> None:
    """Delete failed runs of the same monitor and moment, which the new run replaces."""
    same = MonitorRun.monitor == run.monitor, MonitorRun.model == run.model, MonitorRun.at == run.at
    session.execute(delete(MonitorRun).where(*same, MonitorRun.verdict == FAILED))


def _judge(
    project: Project,
    monitor: Monitor,
    serving: ModelVersion,
    run: MonitorRun,
    rows: pl.DataFrame,
    labelled: pl.DataFrame,
    with_report: bool,
) -> Findings:
    """Compare, complete ``run``, and write the report if one is needed."""
    reference = _without_personal(project, load_reference(project, run.version))
    own = rows.filter(pl.col("version") == run.version)
    unjudged: dict[Kind, str] = {}
    quality, estimated = None, None
    if (monitor.quality or monitor.estimated_quality) and _label_is_hidden(project):
        told = "the label is personal: the log keeps pseudonyms, by which no answer is judged"
        unjudged |= dict.fromkeys(("quality", "estimated_quality"), told)
    else:
        quality = _quality(project, monitor, serving, labelled)
        estimated = _estimated(project, monitor, serving, run, reference, own, unjudged)
    skew = _measure_skew(project, monitor, run, unjudged)
    comparison = _compare(project, monitor, run.version, reference, rows, unjudged)
    findings = judge_comparison(monitor, comparison, quality, unjudged, skew, estimated)
    if unknown := unknown_features(monitor, reference.features.columns):
        run.results = {**run.results, "warnings": [f"monitoring/monitors.yaml: {each}" for each in unknown]}
    run.verdict = "alert" if findings.found else "ok"
    run.results = {**run.results, **results_of(monitor, comparison, quality, findings, skew, estimated)}
    if examples := example_ids(findings, comparison, rows, labelled):
        run.results = {**run.results, "examples": examples}
    if findings.found or with_report:
        title = title_of(monitor, run, own.height, quality, skew)
        report_window(project, run, title, comparison, reference, rows, labelled)
    return findings


def _quality(
    project: Project, monitor: Monitor, serving: ModelVersion, labelled: pl.DataFrame
) -> WindowQuality | None:
    if monitor.quality is None:
        return None
    rows = serving.metrics.get("holdout_rows")
    return measure(labelled, project.task, monitor.quality, _on_holdout(serving), monitor.min_labelled, rows)


def _estimated(
    project: Project,
    monitor: Monitor,
    serving: ModelVersion,
    run: MonitorRun,
    reference: ReferenceRows,
    own: pl.DataFrame,
    unjudged: dict[Kind, str],
) -> EstimatedQuality | None:
    """Estimate the window's quality; labels of as long a time before it, too, check the estimate."""
    if monitor.estimated_quality is None:
        return None
    if own.height < monitor.min_rows:
        unjudged["estimated_quality"] = _too_few(own, monitor)
        return None
    start = run.window_start - (run.window_end - run.window_start)
    known = read_labelled(project.predictions, project.model, start, run.window_end, known_by=run.window_end)
    known = known.filter(pl.col("version") == serving.version)
    return estimate(
        reference,
        Predictions(own, features_of(own)),
        Predictions(known, features_of(known)),
        project.task,
        monitor.estimated_quality,
        _on_holdout(serving),
        monitor.min_labelled,
    )


def _on_holdout(serving: ModelVersion) -> Expected:
    metrics = serving.metrics
    return lambda metric: metrics.get(f"holdout_{metric}")


def _compare(
    project: Project,
    monitor: Monitor,
    version: str,
    reference: ReferenceRows,
    rows: pl.DataFrame,
    unjudged: dict[Kind, str],
) -> Comparison:
    """Compare the window with the reference: features of all rows, answers of the version's own."""
    drift, own = monitor.data_drift, rows.filter(pl.col("version") == version)
    features: tuple[ColumnDrift, ...] = ()
    if drift is not None:
        features = compare(reference.features, features_of(rows), drift, rows["version"], version)
    comparison = Comparison(features, None, reference.features.height, rows.height)
    if monitor.prediction_drift is None:
        return comparison
    if own.height < monitor.min_rows:
        unjudged["prediction_drift"] = _too_few(own, monitor)
        return comparison
    comparison = compare_answers(comparison, project.task, monitor.prediction_drift, reference, own)
    if not comparison.of_answers:
        unjudged["prediction_drift"] = (
            "answers are neither numbers, text nor lists of numbers: their drift is not measured"
        )
    return comparison


def _too_few(own: pl.DataFrame, monitor: Monitor) -> str:
    return f"{own.height} predictions by this version, {monitor.min_rows} are needed"


def _label_is_hidden(project: Project) -> bool:
    usable = not project.has_store or has_repository(project)
    return usable and project.config.dataset.label in hidden_fields(project)


def _without_personal(project: Project, reference: ReferenceRows) -> ReferenceRows:
    """Drop personal features, which are neither logged nor reported."""
    if project.has_store and not has_repository(project):
        return reference
    return reference.without(hidden_fields(project))


def _measure_skew(
    project: Project, monitor: Monitor, run: MonitorRun, unjudged: dict[Kind, str]
) -> SkewReport | None:
    """Compare served features with training features, or record in ``unjudged`` why that failed."""
    if monitor.feature_skew is None:
        return None
    wanted = LogSlice(run.window_start, run.window_end)
    try:
        return measure_skew(project, wanted, monitor.feature_skew.share, monitor.feature_skew.tolerance)
    except (FeatureError, ConfigError) as error:
        unjudged["feature_skew"] = str(error)
        return None


def _by_version(rows: pl.DataFrame) -> dict[str, int]:
    counts = rows.group_by("version").len().sort("version")
    return {str(version): int(count) for version, count in counts.iter_rows()}
