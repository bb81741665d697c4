"""The rows of a monitor's window and what they are compared with; what few kinds need is read when asked."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from tidemill.errors import MonitoringError
from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.window_config import LatestRows
from tidemill.monitoring.windows.logged_windows import compared_with, logged_window
from tidemill.monitoring.windows.time_windows import Window, window_before
from tidemill.plurals import counted
from tidemill.prediction_log.log_records import FEATURE_PREFIX
from tidemill.prediction_log.prediction_log import features_of, read_labelled, read_predictions
from tidemill.prediction_log.reading.window_sketch import WindowSketch
from tidemill.project import Project
from tidemill.serving.observability.request_counts import RequestCounts
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["WindowRows"]

_WAIT = "wait until the log has them, or compare with training rows"


@dataclass(frozen=True)
class WindowRows:
    """A window of the prediction log, and the version that is judged."""

    project: Project
    monitor: Monitor
    version: str
    """The version that serves at the end of the window."""
    on_holdout: Callable[[str], float | None]
    """Returns a metric on its hold-out, by name; ``rows`` is how many rows that has."""
    span: Window
    reference: ReferenceRows
    """Of the version, without personal features."""
    given: pl.DataFrame | Callable[[], pl.DataFrame]
    """All predictions, as `read_predictions` gives them, or what reads them."""
    labelled: pl.DataFrame
    """The version's own whose labels were known at the end, as `read_labelled` gives them."""
    label_is_hidden: bool = False
    """Whether the log has pseudonyms in place of labels."""
    compared_span: Window | None = None
    """The window that drift is measured from, unless training rows are."""
    past: Callable[[Window], pl.DataFrame] | None = None
    """Reads the predictions of another window; None: from the log."""
    attributions: Callable[[Sequence[str]], Mapping[str, float]] | None = None
    """Returns how far the answers move with each feature (`drift.impact`); None: it is not known."""
    sketch: WindowSketch | None = None
    """Of all predictions; None: their rows are looked at."""
    requests: RequestCounts | None = None
    """Those that replicas counted since the monitor's last run, refused ones included; None: not known."""
    unread: Collection[str] = ()
    """Features of the reference that the version does not read, as imported ones may."""

    @cached_property
    def task(self) -> Task:
        """Return what is predicted."""
        return self.project.task

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Return all predictions.

        Raises:
            ServingError: the log cannot be read.
        """
        return self.given if isinstance(self.given, pl.DataFrame) else self.given()

    @property
    def read_features(self) -> pl.DataFrame:
        """Return the features of `baseline` that the version reads; others do not matter to it."""
        features = self.baseline.features
        return features.select(features[name] for name in features.columns if name not in self.unread)

    @property
    def height(self) -> int:
        """Return how many predictions there are."""
        return self.rows.height if self.sketch is None else self.sketch.rows

    @property
    def own_height(self) -> int:
        """Return how many of them are the version's."""
        return self.own.height if self.sketch is None else self.sketch.rows_by_version.get(self.version, 0)

    def only(self, columns: Collection[str]) -> "WindowRows":
        """Return a window with a sketch so that only these columns, ids and versions are read of its rows.

        Nothing is read if there are no columns. A window without a sketch has all of its rows.
        """
        if self.sketch is None:
            return self
        named = ["prediction_id", "version", *columns]
        span = self.project.predictions, self.project.model, self.span.start, self.span.end
        if not columns:
            return replace(self, given=pl.DataFrame(schema=dict.fromkeys(named, pl.String)))
        return replace(self, given=lambda: read_predictions(*span, columns=named))

    @cached_property
    def own(self) -> pl.DataFrame:
        """Return the predictions of the version."""
        return self.rows.filter(pl.col("version") == self.version)

    @cached_property
    def features(self) -> pl.DataFrame:
        """Return the features of all predictions, by their names."""
        return features_of(self.rows)

    @cached_property
    def baseline(self) -> ReferenceRows:
        """Return what drift is measured from: the reference, or the rows that ``against`` names.

        Raises:
            MonitoringError: there are too few of them.
            ServingError: the log cannot be read.
        """
        if self.monitor.against == "training":
            return self.reference
        rows = self._earlier
        known = [name for name in features_of(rows).columns if name in self.reference.features.columns]
        own = rows.filter(pl.col("version") == self.version)
        none = pl.Series("label", [None] * rows.height, pl.Null)
        return ReferenceRows(features_of(rows).select(known), none, own["score"], own["answer"])

    @cached_property
    def baseline_versions(self) -> pl.Series | None:
        """Return the version that answered each row of `baseline`; None of training rows.

        Raises:
            MonitoringError: there are too few of them.
            ServingError: the log cannot be read.
        """
        return None if self.monitor.against == "training" else self._earlier["version"]

    @cached_property
    def baseline_of_answers(self) -> ReferenceRows:
        """Return what drift of answers is measured from: the version's own ones.

        Raises:
            MonitoringError: there are too few of them.
            ServingError: the log cannot be read.
        """
        found = self.baseline
        if self.monitor.against != "training" and len(found.scores) < self.monitor.min_rows:
            told = _too_few_before(len(found.scores), "predictions by this version", self)
            raise MonitoringError(told, hint=_WAIT)
        return found

    @cached_property
    def shown_baseline(self) -> ReferenceRows:
        """Return `baseline` for a report; the reference where there is none and nothing was compared."""
        try:
            return self.baseline
        except MonitoringError:
            return self.reference

    @property
    def compared(self) -> str:
        """Return in words what drift is measured from."""
        if self.monitor.against == "training":
            return "what the model was trained on"
        return f"{compared_with(self.monitor.against)} ({self.compared_span})"

    @cached_property
    def _earlier(self) -> pl.DataFrame:
        """Return the predictions that ``against`` names."""
        if (span := self.compared_span) is None:
            told = f"the window ({self.span}) overlaps {compared_with(self.monitor.against)}"
            raise MonitoringError(f"not enough data: {told}", hint="declare a shorter window")
        rows = self._rows_of(span)
        if rows.height < self.monitor.min_rows:
            raise MonitoringError(_too_few_before(rows.height, "predictions", self), hint=_WAIT)
        return rows

    def _rows_of(self, span: Window) -> pl.DataFrame:
        if self.past is not None:
            return self.past(span)
        return read_predictions(self.project.predictions, self.project.model, span.start, span.end)

    def values_before(self, windows: int, feature: str) -> pl.Series | None:
        """Return a feature in the span that lies so many lengths of the window before it; None if unknown.

        Raises:
            ServingError: the log cannot be read.
        """
        span, name = self.span.earlier(windows * (self.span.end - self.span.start)), FEATURE_PREFIX + feature
        if self.past is not None:
            found: pl.Series | None = self.past(span).get_column(name, default=None)
            return found
        where = self.project.predictions, self.project.model, span.start, span.end
        return read_predictions(*where, columns=(name,))[name]

    @cached_property
    def before(self) -> "WindowRows":
        """Return the window before, of as much time or as many rows; labels known by now count there, too.

        Raises:
            ServingError: the log cannot be read.
        """
        log, length = (self.project.predictions, self.project.model), self.monitor.window
        span = (
            logged_window(*log, length, self.span.start)
            if isinstance(length, LatestRows)
            else window_before(self.span.start, self.span.end - self.span.start)
        )
        where = *log, span.start, span.end
        labelled = read_labelled(*where, known_by=self.span.end)
        return replace(
            self,
            span=span,
            given=read_predictions(*where),
            sketch=None,
            labelled=labelled.filter(pl.col("version") == self.version),
        )

    @property
    def too_few(self) -> str | None:
        """Return why the version's own predictions are too few to be judged; None if they are enough."""
        least = self.monitor.min_rows
        if self.own_height >= least:
            return None
        return f"{counted(self.own_height, 'prediction')} by this version, {least:,} are needed"


def _too_few_before(rows: int, what: str, window: WindowRows) -> str:
    least = window.monitor.min_rows
    return f"not enough data: {window.compared} has {rows} {what}, {least} are needed"
