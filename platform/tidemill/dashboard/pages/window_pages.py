"""A window: what a monitor found in it, and what its verdict rests on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response

from tidemill.dashboard.charts.histogram import Bins
from tidemill.dashboard.page import add_document, add_page
from tidemill.dashboard.page_addresses import address_of
from tidemill.dashboard.records import watch_records
from tidemill.dashboard.visit import Here
from tidemill.dashboard.watched.metric_words import Figure, estimated_figure, measured_figure
from tidemill.dashboard.watched.run_parts import (
    FeatureLine,
    KindVerdict,
    SliceLine,
    Warned,
    bins_in,
    feature_lines,
    kind_verdicts,
    slice_lines,
    warned_in,
)
from tidemill.errors import WindowNotFound
from tidemill.project import ProjectFolder

__all__ = ["AlertLine", "Examples", "WindowPage", "add_to", "window_page", "window_report"]

_SANDBOX = "; ".join(
    (
        "sandbox allow-scripts",  # an origin of its own: without our cookies, and cannot act as the visitor
        "default-src 'none'",
        "script-src 'unsafe-inline' 'unsafe-eval'",  # Evidently's page is one file, with its program in it
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "font-src data:",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True)
class AlertLine:
    """An alert that the run found."""

    href: str
    kind: str
    severity: str
    status: str
    message: str
    found_in: int
    """In how many runs in a row."""


@dataclass(frozen=True)
class Examples:
    """Predictions that show what was found."""

    kind: str
    ids: Sequence[str]


@dataclass(frozen=True)
class WindowPage:
    """One window."""

    model: str
    id: str
    monitor: str
    version: str
    start: datetime
    end: datetime
    at: datetime
    rows: int
    labelled: int
    verdict: str
    against: str
    """What drift is measured from."""
    kinds: Sequence[KindVerdict]
    """What was alarming first."""
    quality: Figure | None
    estimate: Figure | None
    features: Sequence[FeatureLine]
    """In the order of their impact."""
    histograms: Sequence[Bins]
    slices: Sequence[SliceLine]
    examples: Sequence[Examples]
    alerts: Sequence[AlertLine]
    warned: Warned
    report: str | None
    """The address of the report, if one was made."""
    before: str | None
    """The address of the window before."""
    after: str | None


def window_page(visit: Here, model: str, run_id: str) -> WindowPage:
    """Return a window.

    Raises:
        ModelNotFound: there is no such model.
        WindowNotFound: the model has no such window.
    """
    visit.project(model)
    records = visit.records
    run = watch_records.window(records, model, run_id)
    before, after = watch_records.neighbours(records, run)
    alerts = watch_records.alerts_of_run(records, run)
    examples = run.results.get("examples")
    return WindowPage(
        model=model,
        id=run.id,
        monitor=run.monitor,
        version=run.version,
        start=run.window_start,
        end=run.window_end,
        at=run.at,
        rows=run.rows,
        labelled=run.labelled,
        verdict=run.verdict,
        against=_against(run.results, run.version),
        kinds=kind_verdicts(run, {each.kind: each for each in alerts}),
        quality=measured_figure(run),
        estimate=estimated_figure(run),
        features=feature_lines(model, run.results),
        histograms=bins_in(run.results),
        slices=slice_lines(run.results),
        examples=[
            Examples(str(kind), [str(one) for one in ids])
            for kind, ids in (examples.items() if isinstance(examples, dict) else ())
        ],
        alerts=[
            AlertLine(
                address_of("models", model, "alerts", one.id),
                one.kind,
                one.severity,
                one.status,
                one.message,
                one.found_in,
            )
            for one in alerts
        ],
        warned=warned_in(run.results),
        report=address_of("models", model, "windows", run.id, "report") if run.report_path else None,
        before=None if before is None else address_of("models", model, "windows", before),
        after=None if after is None else address_of("models", model, "windows", after),
    )


def window_report(visit: Here, model: str, run_id: str) -> Response:
    """Return the report of a window, as Evidently wrote it.

    Raises:
        ModelNotFound: there is no such model.
        WindowNotFound: the model has no such window, or its report is not on this machine.
    """
    shown = visit.project(model)
    reports = ProjectFolder(shown.root, visit.installation.home.settings, {}).reports.resolve()
    run = watch_records.window(visit.records, model, run_id)
    again = f"`tidemill monitor run {run.monitor} --as-of {run.at.isoformat()} --report` makes it again"
    if run.report_path is None:
        raise WindowNotFound("no report was made for this window", hint=again)
    path = (shown.root / run.report_path).resolve()  # a link may lead elsewhere
    if not path.is_relative_to(reports) or path.suffix != ".html" or not path.is_file():
        raise WindowNotFound(f"the report is gone from {reports}: {run.report_path}", hint=again)
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": _SANDBOX})


def _against(results: dict[str, object], version: str) -> str:
    against = results.get("against")
    if not isinstance(against, dict):
        return f"what version {version} was trained on"
    window = against.get("window")
    span = f", {window[0]} to {window[1]}" if isinstance(window, list) and len(window) == 2 else ""
    return f"{against.get('what')}{span}"


def add_to(app: FastAPI) -> None:
    """Add the page."""
    add_page(
        app,
        "/models/{model}/windows/{run_id}",
        window_page,
        template="window.html",
        needs=("read", "monitor"),
        title="Window",
        shared=True,
    )
    add_document(app, "/models/{model}/windows/{run_id}/report", window_report, needs=("read", "monitor"))
