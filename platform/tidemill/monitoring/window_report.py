"""Writes the report of a monitor run, an HTML page and the same as JSON."""

import logging

import polars as pl

from tidemill.errors import MonitoringError
from tidemill.monitoring.drift.answer_drift import categories_of, values_of
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.monitor_results import write_json
from tidemill.prediction_log.prediction_log import features_of
from tidemill.project import Project
from tidemill.state.tables import MonitorRun
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["report_window"]

log = logging.getLogger(__name__)


def report_window(
    project: Project,
    run: MonitorRun,
    title: str,
    comparison: Comparison,
    reference: ReferenceRows,
    rows: pl.DataFrame,
    labelled: pl.DataFrame,
) -> None:
    """Write the report of a run, and its address into the run; if it cannot be written, keep the verdict.

    Args:
        project: in whose folder of reports it is written.
        run: whose results are complete.
        title: in Markdown.
        comparison: the drift of the window.
        reference: of the version.
        rows: the predictions of the window.
        labelled: those of the version whose labels are known.
    """
    from tidemill.monitoring.reports.evidently_report import (
        ReportedComparison,
        reported_quality,
        write_report,
    )  # it takes seconds

    path = project.reports / run.monitor / f"{run.window_end:%Y-%m-%d_%H%M}-v{run.version}-{run.id}.html"
    own, task = rows.filter(pl.col("version") == run.version), project.task
    values = values_of(reference.scores, reference.answers), values_of(own["score"], own["answer"])
    try:
        write_report(
            path,
            title,
            comparison,
            ReportedComparison(reference.features, values[0], categories_of(task, reference.answers)),
            ReportedComparison(features_of(rows), values[1], categories_of(task, own["answer"])),
            reported_quality(task, labelled),
        )
        write_json(path.with_suffix(".json"), run)
    except MonitoringError as error:
        log.warning("monitor %s: %s", run.monitor, error)
        run.results = {**run.results, "report_error": str(error)}
    else:
        run.report_path = path.relative_to(project.root).as_posix()
