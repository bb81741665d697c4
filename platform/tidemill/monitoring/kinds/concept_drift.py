"""Judges whether labels depend on the rows in another way than in training, and since when.

Two signs, each enough: errors have become larger (from a moment of the window on; to a detector of river:
mistakes more), and the window's errors can be foretold from the features by a model that has seen other rows
of the window. The second finds a change that leaves the size of the errors as it was. What either finds
counts if it is so for inputs that the hold-out has, too: errors grow by themselves where inputs move to what
the model knows less of. While values that the model makes use of are gone, or in another unit, none of this
can be told.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_names
from tidemill.errors import TidemillError
from tidemill.monitoring.drift.drift_columns import compare_column
from tidemill.monitoring.drift.feature_matrices import feature_matrices
from tidemill.monitoring.drift.slow_moves import moved_slowly
from tidemill.monitoring.example_predictions import error_of, worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import ConceptDriftConfig, DataDriftConfig, SumDetector
from tidemill.monitoring.quality.concept_results import Rise, concept_alarms, concept_results, said_of
from tidemill.monitoring.quality.error_changes import (
    Explained,
    error_rise,
    explained_errors,
    foretold_errors,
)
from tidemill.monitoring.quality.held_out import LEAST, HeldOut
from tidemill.monitoring.quality.like_inputs import LikeInputs, like_inputs
from tidemill.monitoring.quality.mistake_changes import (
    MistakeRise,
    mistake_rise,
    mistakes_of,
    rise_beyond_inputs,
)
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.prediction_log.prediction_log import features_of
from tidemill.tasks.task import Answers, Task

__all__ = ["judge"]

Floats = npt.NDArray[np.float64]
_MOST_ROWS = 20_000
_MOST_CLASSES = 5
_LEAST_ALIKE = 50
"""Rows of either side that are like some of the other."""
_MOST = 0.5
"""Share of rows like some of the hold-out, from which on chance is reason enough for a rise of theirs."""
_NEW_INPUTS = (
    "errors are larger, and inputs such as the hold-out hardly has: whether labels depend on them in another "
    "way cannot be told"
)
_FEW_ALIKE = (
    "errors are larger, by {:.0%} for the {:,} of {:,} rows with inputs such as the hold-out has, which is "
    "within chance for so few: whether labels depend on them in another way cannot be told"
)
_BROKEN = (
    "errors are other than on the hold-out, and values are broken at their source ({}): whether labels "
    "depend on them in another way cannot be told"
)
_GONE = 0.8
"""Share of missing values from which on a feature tells nothing of the window's rows."""
_MOVES = 0.1
"""How far answers move, in their standard deviations, with a feature that the model makes use of."""
_UNITS = ("typical size", "spread as")
"""How `drift_columns` begins to say that a feature is in another unit."""


def judge(window: WindowRows, config: ConceptDriftConfig) -> Judged:
    """Compare the errors of labelled rows with those on the version's hold-out."""
    task = window.task
    rows = window.labelled.sort("at", "prediction_id")
    rows = rows.filter(pl.Series(np.isfinite(task.truth_of_log(rows)) & task.sound(task.given_in_log(rows))))
    if rows.height < window.monitor.min_labelled:
        return Judged(unjudged=f"{counted(rows.height, 'label')}, {window.monitor.min_labelled:,} are needed")
    features = features_of(rows)
    known = HeldOut.of(window.reference, task, features.columns)
    if known is None:
        return Judged(unjudged=f"{LEAST} held-out rows with labels are needed, of a version of this release")
    if not known.features.width:
        return Judged(unjudged="no features to compare")
    truth, answers = task.truth_of_log(rows), task.given_in_log(rows)
    compared = _compared(task, known, features, truth, answers, config)
    places = np.arange(rows.height)
    rise = compared.rise()
    explained = compared.explained()
    if _far(rise, config) or _near(explained, config):
        like = compared.like()
        if min(like.known.sum(), len(like.holdout)) < _LEAST_ALIKE:
            return Judged(unjudged=_NEW_INPUTS)
        too_few = False
        if _far(rise, config):
            rise, places = compared.rise_beyond_inputs(rise, like)
            too_few = like.known.mean() < _MOST and rise.share >= config.max_rise and not rise.significant
        if _near(explained, config) and not like.known.all():
            explained = compared.explained(like.known)
        if too_few and not _near(explained, config):
            return Judged(unjudged=_FEW_ALIKE.format(rise.share, int(like.known.sum()), len(like.known)))
    alarming = _far(rise, config) or _near(explained, config)
    if alarming and (broken := _that_matter(window, _broken(window, known.features, features))):
        return Judged(unjudged=_BROKEN.format(", ".join(broken)))
    at = rows["at"][places]
    said = concept_alarms(
        rise if _far(rise, config) else None,
        explained if _near(explained, config) else None,
        at,
        config,
        task,
    )
    details = {"rows": rows.height, **concept_results(rise, explained, at, config)}
    odd = error_of(rows) if said else None
    return Judged(
        found=(Finding("concept_drift", "; ".join(said), details),) if said else (),
        results={"concept_drift": {**details, "max_rise": config.max_rise, "alert_at": config.explained}},
        said=said_of(rise, explained, config, task),
        examples={"concept_drift": worst_ids(rows["prediction_id"], odd)},
    )


def _broken(window: WindowRows, before: pl.DataFrame, now: pl.DataFrame) -> list[str]:
    """Return the features that are gone from the window, or in another unit."""
    config, found = window.monitor.data_drift or DataDriftConfig(), []
    for name in before.columns:
        if name in config.exclude or name not in now.columns:
            continue
        sides = before[name].alias("before"), now[name].alias("now")
        column = compare_column(name, *sides, config, columns=before.width)
        column = moved_slowly(column, *sides, partial(window.values_before, feature=name))
        gone = column.at_fault and column.current_missing >= _GONE
        if gone or (column.broken or "").startswith(_UNITS):
            found.append(name)
    return found


def _that_matter(window: WindowRows, names: list[str]) -> list[str]:
    """Return the features that move the model's answers; all where that cannot be told."""
    if not names or window.attributions is None:
        return []  # in a played past no model is asked
    try:
        moved = window.attributions(names)
    except TidemillError:
        return names
    return [name for name in names if moved.get(name, 0.0) >= _MOVES]


def _far(rise: Rise, config: ConceptDriftConfig) -> bool:
    return rise.significant and rise.share >= config.max_rise


def _near(explained: Explained, config: ConceptDriftConfig) -> bool:
    return explained.significant and explained.share >= config.explained


class _Compared(NamedTuple):
    """The hold-out and the window as numbers, of each the hold-out first."""

    config: ConceptDriftConfig
    inputs: tuple[Floats, Floats]
    losses: tuple[Floats, Floats]
    """The window's of all its rows. For a detector of river: 1 where the answer is a mistake, else 0."""
    errors: Floats
    """Of the window."""
    foretold: Floats
    """What the hold-out says of them."""
    categories: list[int]
    places: npt.NDArray[np.intp]
    """Of the window's rows that are looked at closely."""

    def rise(self) -> Rise:
        """Return the rise of the losses, or of the mistakes."""
        if isinstance(self.config.detector, SumDetector):
            return error_rise(*self.losses)
        return mistake_rise(self.config.detector, *self.losses, self.config.max_rise)

    def rise_beyond_inputs(self, rise: Rise, like: LikeInputs) -> tuple[Rise, npt.NDArray[np.intp]]:
        """Return a rise as it would be for the same inputs, and the places of the rows that it counts by."""
        known = self.places[like.known]
        if isinstance(rise, MistakeRise):
            rows = np.arange(len(self.losses[1]))
            return rise_beyond_inputs(rise, like.holdout, like.window, known), rows
        return error_rise(like.holdout, like.window), known

    def explained(self, known: npt.NDArray[np.bool_] | None = None) -> Explained:
        """Return how much the window's own rows say about its errors; ``known``: by some of them."""
        sides = self.inputs[1], self.errors, self.foretold
        if known is not None:
            sides = sides[0][known], sides[1][known], sides[2][known]
        return explained_errors(*sides, self.categories)

    def like(self) -> LikeInputs:
        """Return the losses as they would be for the same inputs."""
        before, now = self.inputs
        return like_inputs(before, self.losses[0], now, self.losses[1][self.places], self.categories)


def _compared(
    task: Task,
    known: HeldOut,
    features: pl.DataFrame,
    truth: Floats,
    answers: Answers,
    config: ConceptDriftConfig,
) -> _Compared:
    features = features.select(literal_names(known.features.columns))
    losses = _losses(task, known, truth, answers, config)
    places = np.arange(features.height)
    if features.height > _MOST_ROWS:
        places = np.sort(np.random.default_rng(0).permutation(features.height)[:_MOST_ROWS])
    features, truth, answers = features[places], truth[places], answers[places]
    coded = feature_matrices(known.features, features, detailed=True)
    before = np.column_stack([coded.before, _numbers(known.answers)])
    now = np.column_stack([coded.now, _numbers(answers)])
    chosen = _classes(truth) if answers.ndim == 2 else None
    errors, categories = _errors(known.truth, known.answers, chosen), list(coded.categories)
    foretold = foretold_errors(before, errors, now, categories)
    own = _errors(truth, answers, chosen)
    return _Compared(config, (before, now), losses, own, foretold, categories, places)


def _losses(
    task: Task, known: HeldOut, truth: Floats, answers: Answers, config: ConceptDriftConfig
) -> tuple[Floats, Floats]:
    """Return the losses of the hold-out and of the window; for a detector of river their mistakes."""
    if isinstance(config.detector, SumDetector):
        return task.losses(known.truth, known.answers), task.losses(truth, answers)
    return mistakes_of(task, known, truth, answers)


def _numbers(answers: Answers) -> Floats:
    return answers.max(axis=1) if answers.ndim == 2 else answers


def _classes(truth: Floats) -> npt.NDArray[np.int64]:
    """Return the numbers of the most frequent classes."""
    values, counts = np.unique(truth.astype(np.int64), return_counts=True)
    return values[np.argsort(-counts)][:_MOST_CLASSES]


def _errors(truth: Floats, answers: Answers, classes: npt.NDArray[np.int64] | None) -> Floats:
    if classes is None:
        return (truth - answers)[:, None]
    return np.asarray((truth[:, None] == classes) - answers[:, classes], dtype=np.float64)
