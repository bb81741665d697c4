"""Chooses the candidate window that a model learns from, by a paired comparison on later rows."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Answers
from tidemill.training.candidate_windows import Window
from tidemill.training.fitting.split_rows import SplitRows
from tidemill.training.rows_of_windows import change_point, rows_in

__all__ = ["Compared", "WindowChoice", "choose_window", "rows_of_window"]

Answer = Callable[[pl.DataFrame], Answers]
_FEWEST = 1000
"""Rows that a window needs, unless all rows are fewer than four times that: then a quarter of them."""


@dataclass(frozen=True)
class Compared:
    """How one candidate window did."""

    window: str
    rows: int = 0
    """Rows that the model of the comparison learnt from."""
    value: float | None = None
    """Its metric on the rows of the comparison."""
    gain: float | None = None
    """Over the first window that was not left out."""
    low: float | None = None
    high: float | None = None
    """The 90 % interval of the gain: a paired bootstrap over days."""
    left_out: str | None = None
    """Why no model was fitted."""
    chosen: bool = False


@dataclass(frozen=True)
class WindowChoice:
    """The rows that the model learns from, and why these."""

    window: Window
    rows: pl.DataFrame
    compared: tuple[Compared, ...]
    change: datetime | None = None
    """Since when the world is another one; None: no change was found."""

    def newest(self, known: pl.DataFrame, time: str) -> pl.DataFrame:
        """Return the window's rows among all that are known; all where it has none."""
        found = rows_in(self.window, known, time, self.change)
        return known if isinstance(found, str) else found

    @property
    def recorded(self) -> tuple[dict[str, Any], ...]:
        """The comparison as JSON values."""
        return tuple(asdict(each) for each in self.compared)


def choose_window(
    project: Project,
    windows: Sequence[Window],
    features: tuple[str, ...],
    sides: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame],
    fit: Callable[[pl.DataFrame], Answer],
) -> WindowChoice:
    """Fit a model on each window of the training rows, and choose by the validation rows that follow them.

    The first window that the rows reach, with enough of them, stands unless another one is better beyond
    chance: the whole interval of its gain lies above zero. Neither the training nor the comparison sees the
    hold-out, so the gate's comparison is fair.

    Args:
        project: whose task, columns and seed count.
        windows: at least one, the first is the one that stands.
        features: the columns that models learn from.
        sides: rows to train on; those of the validation, which follow; and both, for the final model.
        fit: fits a model on some rows, and returns what gives its answers.
    """
    train, validation, whole = sides
    dataset = project.config.dataset
    if dataset.time is None:
        said = "the rows have no time"
        others = [Compared(str(window), left_out=said) for window in windows[1:]]
        return WindowChoice(windows[0], whole, (Compared(str(windows[0]), chosen=True), *others))
    columns = (*features, dataset.label)
    change = change_point(train, dataset.time, columns)
    spans = [rows_in(window, train, dataset.time, change) for window in windows]
    results = _compare(project, windows, spans, validation, fit)
    best = _best(results)
    found = rows_in(windows[best], whole, dataset.time, change)
    rows = whole if isinstance(found, str) else found
    compared = tuple(replace(each, chosen=number == best) for number, each in enumerate(results))
    return WindowChoice(windows[best], rows, compared, change)


def rows_of_window(project: Project, rows: SplitRows, window: Window) -> SplitRows:
    """Return the sides with the rows to fit on of a window that was chosen before, as `choose_window` did."""
    dataset = project.config.dataset
    if dataset.time is None:
        return rows
    change = change_point(rows.train, dataset.time, (*rows.features, dataset.label))
    found = rows_in(window, rows.fit, dataset.time, change)
    return rows if isinstance(found, str) else replace(rows, fit=found)


def _compare(
    project: Project,
    windows: Sequence[Window],
    spans: Sequence[pl.DataFrame | str],
    validation: pl.DataFrame,
    fit: Callable[[pl.DataFrame], Answer],
) -> list[Compared]:
    task, label = project.task, project.config.dataset.label
    truth = task.truth(validation, label)
    days = validation[project.config.dataset.time_column].dt.date().to_numpy()
    fewest = min(_FEWEST, max((len(span) for span in spans if not isinstance(span, str)), default=0) // 4)
    first: Answers | None = None
    base: float | None = None
    results = []
    for window, span in zip(windows, spans, strict=True):
        why = span if isinstance(span, str) else task.unlearnable(span[label])
        if why is None and len(span) < fewest:
            why = f"{counted(len(span), 'row')}, {fewest:,} are needed"
        if why is not None or isinstance(span, str):
            results.append(Compared(str(window), 0 if isinstance(span, str) else len(span), left_out=why))
            continue
        answers = fit(span)(validation)
        value = float(task.evaluate(truth, answers)[task.metric])
        one = Compared(str(window), len(span), value if np.isfinite(value) else None)
        if first is None:
            first, base = answers, one.value
        else:
            interval = gain_interval(task, truth, answers, first, days, seed=project.config.train.seed)
            if interval is not None and base is not None:
                one = replace(one, gain=value - base, low=interval.low, high=interval.high)
        results.append(one)
    return results


def _best(results: Sequence[Compared]) -> int:
    """Return the number of the window with the greatest gain that is surely one; the first without any.

    The first is the first that was not left out, if one was not.
    """
    sure = [(each.gain, -number) for number, each in enumerate(results) if each.gain and (each.low or 0) > 0]
    fitted = (number for number, each in enumerate(results) if each.left_out is None)
    return -max(sure)[1] if sure else next(fitted, 0)
