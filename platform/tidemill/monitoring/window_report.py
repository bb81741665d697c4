"""Writes the report of a monitor run, an HTML page and the same as JSON."""

import logging
from collections.abc import Mapping

import polars as pl

from tidemill.errors import MonitoringError
from tidemill.monitoring.drift.answer_drift import categories_of, values_of
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.findings import Judged
from tidemill.monitoring.monitor_results import title_of, write_json
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.state.tables import MonitorRun

__all__ = ["report_window"]

log = logging.getLogger(__name__)


def report_window(window: WindowRows, run: MonitorRun, judged: Mapping[str, Judged]) -> None:
    """Write the report of a run, and its address into the run; if it cannot be written, keep the verdict.

    Args:
        window: that was judged.
        run: whose results are complete.
        judged: what each kind says of it.
    """
    from tidemill.monitoring.reports.evidently_report import (
        ReportedComparison,
        reported_quality,
        write_report,
    )  # it takes seconds

    project, reference, own, task = window.project, window.shown_baseline, window.own, window.task
    path = project.reports / run.monitor / f"{run.window_end:%Y-%m-%d_%H%M}-v{run.version}-{run.id}.html"
    try:
        values = values_of(reference.scores, reference.answers), values_of(own["score"], own["answer"])
        write_report(
            path,
            title_of(run, own.height, judged),
            _comparison(window, judged),
            ReportedComparison(reference.features, values[0], categories_of(task, reference.answers)),
            ReportedComparison(window.features, values[1], categories_of(task, own["answer"])),
            reported_quality(task, window.labelled),
        )
        write_json(path.with_suffix(".json"), run)
    except MonitoringError as error:
        log.warning("monitor %s: %s", run.monitor, error)
        run.results = {**run.results, "report_error": str(error)}
    except (Exception, pl.exceptions.PanicException) as error:  # the verdict stands
        log.warning("monitor %s: its report failed", run.monitor, exc_info=error)
        run.results = {**run.results, "report_error": f"{type(error).__name__}: {error}"}
    else:
        run.report_path = path.relative_to(project.root).as_posix()


def _comparison(window: WindowRows, judged: Mapping[str, Judged]) -> Comparison:
    """Return the drift that was measured, for the report to draw."""
    columns = {name: one.columns for name, one in judged.items()}
    answers = {each.name == "class": each for each in columns.get("prediction_drift", ())}
    return Comparison(
        columns.get("data_drift", ()),
        answers.get(False),
        window.shown_baseline.features.height,
        window.height,
        answers.get(True),
    )
