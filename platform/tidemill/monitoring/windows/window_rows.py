"""The rows of a monitor's window and what they are compared with; what few kinds need is read when asked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl

from tidemill.monitoring.monitor_config import Monitor
from tidemill.monitoring.windows.time_windows import Window, window_before
from tidemill.prediction_log.prediction_log import features_of, read_labelled, read_predictions
from tidemill.project import Project
from tidemill.tasks.task import Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["WindowRows"]


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
    rows: pl.DataFrame
    """All predictions, as `read_predictions` gives them."""
    labelled: pl.DataFrame
    """The version's own whose labels were known at the end, as `read_labelled` gives them."""
    label_is_hidden: bool = False
    """Whether the log has pseudonyms in place of labels."""

    @cached_property
    def task(self) -> Task:
        """Return what is predicted."""
        return self.project.task

    @cached_property
    def own(self) -> pl.DataFrame:
        """Return the predictions of the version."""
        return self.rows.filter(pl.col("version") == self.version)

    @cached_property
    def features(self) -> pl.DataFrame:
        """Return the features of all predictions, by their names."""
        return features_of(self.rows)

    @cached_property
    def before(self) -> "WindowRows":
        """Return the window before, as long; labels that became known in this one count there, too.

        Raises:
            ServingError: the log cannot be read.
        """
        span = window_before(self.span.start, self.span.end - self.span.start)
        where = self.project.predictions, self.project.model, span.start, span.end
        labelled = read_labelled(*where, known_by=self.span.end)
        return replace(
            self,
            span=span,
            rows=read_predictions(*where),
            labelled=labelled.filter(pl.col("version") == self.version),
        )

    @property
    def too_few(self) -> str | None:
        """Return why the version's own predictions are too few to be judged; None if they are enough."""
        least = self.monitor.min_rows
        if self.own.height >= least:
            return None
        return f"{self.own.height} predictions by this version, {least} are needed"
