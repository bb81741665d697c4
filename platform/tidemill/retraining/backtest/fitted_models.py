"""Fits models as they would have been at moments of the past, each once, with what was known by then."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pandas as pd
import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.known_rows import known_at
from tidemill.errors import TooManyFits, TrainingError
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.tasks.task import Answers
from tidemill.training.candidate_windows import ALL, Window
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.fit_on_ray import fit_rounds
from tidemill.training.fitting.judgement import reference_of
from tidemill.training.fitting.split_rows import SplitRows, sample_rows
from tidemill.training.fitting.window_choice import choose_window
from tidemill.training.model_spec import Family, Schedule
from tidemill.training.splits import known_before, split_by_time
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["Fitted", "FittedModels", "Recipe", "known_by"]


@dataclass(frozen=True)
class Recipe:
    """How each model is fitted: one family with fixed parameters, without a search."""

    family: Family
    params: Mapping[str, Any]
    rounds: int
    schedule: Schedule = ()


@dataclass(frozen=True)
class Fitted:
    """A model as it would have been at a moment."""

    as_of: datetime
    rows: int
    """Rows that it learnt from."""
    seconds: float
    """CPU time of the fit."""
    holdout: pl.DataFrame
    """The newest rows known at the moment, which it did not learn from."""
    metrics: Mapping[str, float]
    """On its hold-out."""
    reference: ReferenceRows
    answer: Callable[[pl.DataFrame], Answers] = field(repr=False)
    window: Window = ALL
    """The candidate window whose rows it learnt from."""
    windows: tuple[Window, ...] = (ALL,)
    """Those it was chosen from."""
    twin: Callable[[pl.DataFrame], Answers] | None = field(default=None, repr=False)
    """With ``train.refit``: the answers of the model that did not learn from the hold-out."""

    @property
    def judged(self) -> Callable[[pl.DataFrame], Answers]:
        """The answers by which the gate judges it."""
        return self.twin or self.answer

    @property
    def key(self) -> tuple[datetime, tuple[Window, ...]]:
        """Tells models apart."""
        return self.as_of, self.windows


class FittedModels:
    """The models of a project's past by moment; each is fitted once, whoever asks for it.

    Args:
        project: whose split and task count.
        rows: all labelled rows in order of time, as `training_rows.read_labelled` gives them.
        features: the columns to learn from.
        recipe: how to fit.
        most_rows: fit on a sample of so many rows; None for all.
        most_fits: raise an error rather than fit more often.
        tell: called before each fit with its moment and its rows.
    """

    def __init__(
        self,
        project: Project,
        rows: pl.DataFrame,
        features: tuple[str, ...],
        recipe: Recipe,
        most_rows: int | None,
        most_fits: int,
        tell: Callable[[datetime, int], None],
    ) -> None:
        self._project, self._rows, self._features, self._recipe = project, rows, features, recipe
        self._most_rows, self._most_fits, self._tell = most_rows, most_fits, tell
        self._fitted: dict[tuple[int, tuple[Window, ...]], Fitted] = {}
        self._estimators: dict[tuple[int, datetime, datetime], tuple[Any, float]] = {}
        """(number of rows, first moment, last moment) → the model that learnt from them, and its CPU time."""

    @property
    def count(self) -> int:
        """How many models were fitted."""
        return len(self._estimators)

    @property
    def most_fits(self) -> int:
        """How many estimators may be fitted."""
        return self._most_fits

    @property
    def made(self) -> tuple[Fitted, ...]:
        """The models that somebody has asked for."""
        return tuple(self._fitted.values())

    def at(self, moment: datetime, windows: tuple[Window, ...] = (ALL,)) -> Fitted:
        """Return the model that a turn at ``moment`` would have made, choosing between candidate windows.

        Raises:
            TrainingError: too little was known by then.
            TooManyFits: it would be one fit too many.
        """
        dataset, config = self._project.config.dataset, self._project.config
        known = known_by(self._project, self._rows, moment)
        if (found := self._fitted.get((known.height, windows))) is not None:
            return found
        if known.is_empty():
            raise TrainingError(f"no label was known at {moment:%Y-%m-%d}", hint="begin later, with --from")
        times = known[dataset.time_column]
        split = split_by_time(moment, times[0], times[-1], config.split)
        sides = {
            name: known_before(known, getattr(split, name), dataset)
            for name in ("train", "validation", "fit")
        }
        newest = config.train.max_rows or known.height
        train, fit = (sides[name].tail(newest) for name in ("train", "fit"))
        holdout = known.filter(pl.col(literal_name(dataset.time_column)) >= split.holdout.start)
        again = known.tail(newest) if config.train.refit else None
        parts = SplitRows(self._features, split, train, sides["validation"], fit, holdout, 0, known=again)
        found = self._made(moment, parts, windows)
        self._fitted[known.height, windows] = found
        return found

    def _made(self, moment: datetime, rows: SplitRows, windows: tuple[Window, ...]) -> Fitted:
        """Choose the window, fit on it, and judge the model on the hold-out."""
        spent = 0.0

        def fit(some: pl.DataFrame) -> Callable[[pl.DataFrame], Answers]:
            nonlocal spent
            estimator, seconds = self._estimator(moment, some)
            spent += seconds
            return lambda others: self._project.task.answers(estimator, as_features(others, self._features))

        window, some, again = ALL, rows.fit, rows.known
        if windows != (ALL,):
            sides = rows.train, rows.validation, rows.fit
            choice = choose_window(self._project, windows, self._features, sides, fit)
            window, some = choice.window, choice.rows
            if again is not None:
                again = choice.newest(again, self._project.config.dataset.time_column)
        rows = replace(rows, fit=self._sampled(some))
        found = self._judged(moment, rows, fit(some), spent)
        if again is not None:
            found = replace(found, answer=fit(again), twin=found.answer, rows=self._sampled(again).height)
        return replace(found, seconds=spent, window=window, windows=windows)

    def _sampled(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self._most_rows is None:
            return rows
        return sample_rows(rows, self._most_rows, self._project.config.train.seed)

    def _estimator(self, moment: datetime, rows: pl.DataFrame) -> tuple[Any, float]:
        """Return the model that learns from some rows, and the CPU time of its fit."""
        times = rows[self._project.config.dataset.time_column]
        key = rows.height, times[0], times[-1]
        if (known := self._estimators.get(key)) is not None:
            return known
        if len(self._estimators) >= self._most_fits:
            raise TooManyFits(
                f"the policies asked for more than {counted(self._most_fits, 'fit')}",
                hint="play a shorter time or fewer policies, or allow more with --max-fits",
            )
        rows = self._sampled(rows)
        self._tell(moment, rows.height)
        began = time.process_time()
        truth = pd.Series(self._project.task.truth(rows, self._project.config.dataset.label))
        recipe, features = self._recipe, as_features(rows, self._features)
        estimator = fit_rounds(
            recipe.family, recipe.params, features, truth, recipe.rounds, schedule=recipe.schedule
        )
        self._estimators[key] = estimator, time.process_time() - began
        return self._estimators[key]

    def _judged(
        self, moment: datetime, rows: SplitRows, answer: Callable[[pl.DataFrame], Answers], seconds: float
    ) -> Fitted:
        task = self._project.task
        answers = answer(rows.holdout)
        metrics = task.evaluate(task.truth(rows.holdout, self._project.config.dataset.label), answers)
        reference = reference_of(self._project, rows, answers)
        return Fitted(moment, rows.fit.height, seconds, rows.holdout, metrics, reference, answer)


def known_by(project: Project, rows: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Return the rows whose event was over and whose label was known at ``moment``."""
    dataset = project.config.dataset
    return rows.filter(known_at(moment, dataset.time_column, dataset.label_known))
