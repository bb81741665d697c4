"""The past of a project that is played: its rows, and the models that could have answered them."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.project import Project
from tidemill.retraining.backtest.fitted_models import Fitted, FittedModels
from tidemill.tasks.paired_bootstrap import gain_interval
from tidemill.tasks.task import Answers

__all__ = ["Past"]


@dataclass
class Past:
    """The rows of the past, and the models that could have answered them."""

    project: Project
    rows: pl.DataFrame
    features: tuple[str, ...]
    models: FittedModels
    start: datetime
    end: datetime
    _answers: dict[Hashable, Answers] = field(default_factory=dict)

    def answers(self, model: Fitted) -> Answers:
        """Return a model's answers to all rows, which are asked for once."""
        if model.key not in self._answers:
            self._answers[model.key] = model.answer(self.rows)
        return self._answers[model.key]

    def places(self, start: datetime, end: datetime) -> npt.NDArray[np.intp]:
        """Return where the rows of ``[start, end)`` are."""
        at = pl.col(literal_name(self.project.config.dataset.time_column))
        return (
            self.rows.select(pl.arg_where((at >= start) & (at < end))).to_series().to_numpy().astype(np.intp)
        )

    def surely_worse(self, new: Fitted, old: Fitted, places: npt.NDArray[np.intp]) -> bool:
        """Return whether a model answered some rows worse than another beyond chance."""
        if not len(places):
            return False
        dataset, rows = self.project.config.dataset, self.rows[places]
        between = gain_interval(
            self.project.task,
            self.project.task.truth(rows, dataset.label),
            self.answers(new)[places],
            self.answers(old)[places],
            rows[dataset.time_column].dt.date().to_numpy(),
        )
        return between is not None and between.high < 0

    def metric(self, parts: Sequence[tuple[Fitted, npt.NDArray[np.intp]]]) -> float:
        """Return the task's metric of the answers that several models gave, each to its own rows."""
        parts = [(model, places) for model, places in parts if len(places)]
        if not parts:
            return float("nan")
        task, label = self.project.task, self.project.config.dataset.label
        answers = np.concatenate([self.answers(model)[places] for model, places in parts])
        rows = self.rows[np.concatenate([places for _, places in parts])]
        return float(task.evaluate(task.truth(rows, label), answers)[task.metric])
