"""Evaluates a monitor: reads a window of the prediction log, compares, reports, and keeps records and alerts.

Which rows, when more than one version served in the window:

- the reference is that of the champion, the version that serves at the end of the window;
- data drift uses all rows of the window, because inputs do not depend on the version that answers. Rows of a
  version that was made for other features do not count as missing these;
- feature skew uses all rows too, because served features do not depend on the version either. Values that
  the offline store does not have yet are not judged;
- prediction drift and quality use only the champion's own rows, because another version's scores say nothing
  about it. With too few such rows they are not judged, and the results say so.

Each kind of finding is a module of `kinds`. One that fails, such as the feature store's, is unjudged alone.

A report is made when something is alarming or when it is requested, because it takes longer than the verdict,
which does not depend on it. The run and its alerts are written first, in one transaction, so that no alert
waits for its report: a run that is killed in between has none, and ``--report`` makes it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from sqlalchemy import delete
from sqlalchemy.orm import Session

from tidemill.clock import utc
from tidemill.errors import MonitoringError
from tidemill.features.project_features import hidden_fields
from tidemill.ids import new_id
from tidemill.monitoring.counted_requests import count_requests, judge_without_rows
from tidemill.monitoring.drift.model_impact import attributions_of
from tidemill.monitoring.figure_history import made_of
from tidemill.monitoring.findings import Findings, Judged
from tidemill.monitoring.kinds.kind_table import gather, judge_window, needs_rows
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.monitor_results import about_other_versions, results_of
from tidemill.monitoring.window_report import report_window
from tidemill.monitoring.windows.logged_windows import compared_window, logged_window
from tidemill.monitoring.windows.time_windows import Window, window_before
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.prediction_log.prediction_log import read_labelled, read_predictions
from tidemill.prediction_log.reading.window_sketch import WindowSketch, read_window_sketch
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion, get_version, load_reference
from tidemill.registry.versions.version_record import ModelVersion
from tidemill.serving.observability.request_counts import RequestCounts
from tidemill.state import State
from tidemill.state.tables import MonitorRun

__all__ = ["FAILED", "MISSED", "RecordAlerts", "evaluate", "forget_failures", "new_run", "nothing_serves"]

FAILED = "failed"
"""Verdict of a run that failed."""
MISSED = "missed"
"""Verdict in place of the runs that a monitor should have made and did not."""
_OF_QUALITY = ("prediction_id", "version", "at", "score", "answer")
RecordAlerts = Callable[[Session, MonitorRun, Findings, Monitor], object]
"""Raises, sees again and resolves alerts in the transaction that records a run."""


def evaluate(
    project: Project,
    state: State,
    monitor: Monitor,
    now: datetime,
    record_alerts: RecordAlerts,
    with_report: bool = False,
    version: str | None = None,
) -> MonitorRun:
    """Evaluate a monitor over the window that ends at ``now``; labels known later do not count.

    Args:
        project: the project with the champion and the prediction log.
        state: the records, to which the run and its alerts are written.
        monitor: the monitor to evaluate.
        now: event time, aware; also the end of the window.
        record_alerts: called in the transaction that records the run.
        with_report: whether to make a report even if nothing is alarming.
        version: the one to judge; default: the champion.

    Returns:
        The recorded run. Verdict ``too_few``: fewer rows than ``min_rows``; nothing was judged but refused
        requests, and there is no report. ``alert``: at least one kind is alarming. ``ok``: no judged kind is.

    Raises:
        MonitoringError: no version serves.
        RegistryError: the version has no reference.
        ServingError: the log cannot be read. After any of these errors nothing is recorded.
    """
    now, serving = utc(now), get_version(project, version) if version else champion(project)
    if serving is None:
        raise nothing_serves(project)
    span = logged_window(project.predictions, project.model, monitor.window, now)
    log = project.predictions, project.model, span.start, span.end
    given, by_version, sketch = _predictions(monitor, *log)
    columns = None if sketch is None else _OF_QUALITY
    labelled = read_labelled(*log, known_by=now, columns=columns).filter(pl.col("version") == serving.version)
    run = new_run(project, monitor, serving.version, now)
    run.window_start = span.start
    run.rows, run.labelled = sum(by_version.values()), labelled.height
    requests, kept = count_requests(project, state, monitor, now)
    run.results = {
        "rows_by_version": by_version,
        "min_rows": monitor.min_rows,
        "made_of": made_of(serving, project.root),
        **({} if monitor.raise_on_noise is None else {"raise_on_noise": monitor.raise_on_noise}),
        **kept,
    }
    window, judged = None, dict[str, Judged]()
    if run.rows < monitor.min_rows:
        findings = judge_without_rows(run, monitor, requests)
    else:
        window = _window_rows(project, monitor, serving, span, given, labelled, sketch, requests)
        judged = judge_window(window)
        findings = gather(judged)
        run.verdict = "alert" if findings.found else "ok"
        run.results = {**run.results, **results_of(window, judged, findings)}
        if told := about_other_versions(by_version, serving.version, monitor.min_rows):
            run.results["warnings"] = [*run.results.get("warnings", ()), *told]
    with state.transaction() as session:
        forget_failures(session, run)
        session.add(run)
        session.flush()
        record_alerts(session, run, findings, monitor)
    if window is not None and (findings.found or with_report or monitor.report == "always"):
        report_window(window, run, judged)
        with state.transaction() as session:
            session.merge(run)
    return run


def nothing_serves(project: Project) -> MonitoringError:
    """Return the error that no version serves, so there is nothing to monitor."""
    return MonitoringError(
        f"there is nothing to watch: {project.model} has no champion",
        hint="train and promote one: `tidemill run --promote`",
    )


def new_run(project: Project, monitor: Monitor, version: str, now: datetime) -> MonitorRun:
    """Return a run of a monitor over the window that ends at ``now``, without a result yet.

    A window of the latest predictions is empty until the log was read.
    """
    length = monitor.window if isinstance(monitor.window, timedelta) else timedelta(0)
    window = window_before(now, length)
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


def _window_rows(
    project: Project,
    monitor: Monitor,
    serving: ModelVersion,
    span: Window,
    given: pl.DataFrame | Callable[[], pl.DataFrame],
    labelled: pl.DataFrame,
    sketch: WindowSketch | None,
    requests: RequestCounts | None,
) -> WindowRows:
    """Return what the kinds judge: the window's rows beside the version's reference."""
    hidden, metrics = _hidden_fields(project), serving.metrics
    reference = load_reference(project, serving.version)
    read = serving.trained.features if serving.trained else ()
    return WindowRows(
        project,
        monitor,
        serving.version,
        lambda metric: metrics.get(f"holdout_{metric}"),
        span,
        reference.without(hidden),
        given,
        labelled,
        project.config.dataset.label in hidden,
        compared_window(project.predictions, project.model, monitor.window, monitor.against, span),
        attributions=lambda names: attributions_of(project, serving.version, reference, names),
        sketch=sketch,
        requests=requests,
        unread=[name for name in reference.features.columns if name not in read] if read else (),
    )


def _predictions(
    monitor: Monitor, root: Path, model: str, start: datetime, end: datetime
) -> tuple[pl.DataFrame | Callable[[], pl.DataFrame], dict[str, int], WindowSketch | None]:
    """Return the predictions of a window, or what reads them, how many each version made, and a sketch."""
    sketch = None if needs_rows(monitor) else read_window_sketch(root, model, start, end)
    if sketch is None:
        rows = read_predictions(root, model, start, end)
        return rows, _by_version(rows), None
    return lambda: read_predictions(root, model, start, end), sketch.rows_by_version, sketch


def _hidden_fields(project: Project) -> frozenset[str]:
    """Return the names of personal fields, which are neither logged nor reported."""
    if project.has_store:
        from tidemill.features.feast_session import has_repository  # importing Feast takes seconds

        if not has_repository(project):
            return frozenset()
    return hidden_fields(project)


def _by_version(rows: pl.DataFrame) -> dict[str, int]:
    counts = rows.group_by("version").len().sort("version")
    return {str(version): int(count) for version, count in counts.iter_rows()}
