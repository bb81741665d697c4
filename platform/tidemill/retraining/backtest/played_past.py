"""The past of a project that is played: its rows, and the models that could have answered them."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.project import Project
from tidemill.retraining.backtest.fitted_models import Fitted, FittedModels
from tidemill.retraining.backtest.strategies import PromotionRule
from tidemill.tasks.paired_bootstrap import Interval, gain_interval
from tidemill.tasks.task import Answers

__all__ = ["Past"]

Known = TypeVar("Known")


@dataclass
class Past:
    """The rows of the past, and the models that could have answered them."""

    project: Project
    rows: pl.DataFrame
    features: tuple[str, ...]
    models: FittedModels
    start: datetime
    end: datetime
    _known: dict[Hashable, Any] = field(default_factory=dict)
    """What was computed once for all strategies."""

    def decided_by(self, rule: PromotionRule) -> "Past":
        """Return the same past, with the same models and answers, in which another gate and proof decide."""
        return replace(self, project=rule.applied(self.project))

    def once(self, key: Hashable, work: Callable[[], Known]) -> Known:
        """Return what some work comes to: it is the same for all strategies, and done once."""
        if key not in self._known:
            self._known[key] = work()
        found: Known = self._known[key]
        return found

    def answers(self, model: Fitted) -> Answers:
        """Return a model's answers to all rows."""
        return self.once(("answers", model.key), lambda: model.answer(self.rows))

    def places(self, start: datetime, end: datetime) -> npt.NDArray[np.intp]:
        """Return where the rows of ``[start, end)`` are."""
        at = pl.col(literal_name(self.project.config.dataset.time_column))
        return (
            self.rows.select(pl.arg_where((at >= start) & (at < end))).to_series().to_numpy().astype(np.intp)
        )

    def gained(self, new: Fitted, old: Fitted, places: npt.NDArray[np.intp]) -> Interval | None:
        """Return the 90 % interval of a model's gain over another on some rows; None if it is unknown."""
        if not len(places):
            return None
        dataset, rows, task = self.project.config.dataset, self.rows[places], self.project.task
        answers = self.answers(new)[places], self.answers(old)[places]
        days = rows[dataset.time_column].dt.date().to_numpy()
        return self.once(
            ("gained", new.key, old.key, int(places[0]), int(places[-1])),
            lambda: gain_interval(task, task.truth(rows, dataset.label), *answers, days),
        )

    def metric(self, parts: Sequence[tuple[Fitted, npt.NDArray[np.intp]]]) -> float:
        """Return the task's metric of the answers that several models gave, each to its own rows."""
        parts = [(model, places) for model, places in parts if len(places)]
        if not parts:
            return float("nan")
        task, label = self.project.task, self.project.config.dataset.label
        answers = np.concatenate([self.answers(model)[places] for model, places in parts])
        rows = self.rows[np.concatenate([places for _, places in parts])]
        return float(task.evaluate(task.truth(rows, label), answers)[task.metric])
