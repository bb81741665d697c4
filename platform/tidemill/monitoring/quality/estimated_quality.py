"""Estimates the quality of predictions whose labels are not known yet, and says when that cannot be trusted.

The estimate holds while rows with the same answer (and, for numbers, the same features) have labels as they
had in the reference: it sees a change of the inputs, and not a change of the concept. So it comes with two
checks, and counts only while both pass: rows whose labels are known must have the quality that is estimated
for them, and most rows must lie in the region of the reference. Imports no engine.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.data.tables.column_names import literal_names
from tidemill.monitoring.drift.column_pair import as_comparable
from tidemill.monitoring.kind_sections import QualityConfig
from tidemill.monitoring.quality.held_out import LEAST, HeldOut, taken
from tidemill.monitoring.quality.label_draws import ErrorModels, as_classes, draw_classes
from tidemill.monitoring.quality.labelled_quality import Expected
from tidemill.plurals import counted
from tidemill.tasks.natural_metric import metric_of
from tidemill.tasks.task import Answers, Task
from tidemill.training.tracking.reference_rows import ReferenceRows

__all__ = ["EstimatedQuality", "Predictions", "QualityCheck", "estimate"]

Floats = npt.NDArray[np.float64]
Draw = Callable[[pl.DataFrame, Answers], Iterator[npt.NDArray[Any]]]
"""Takes features and answers of rows, and yields labels that they may have, `_DRAWS` times."""

_WIDER = 2.365 / 1.960
"""Draws of numbers differ by their models of the errors, which are few: Student's t with 7 degrees of freedom
beside the normal, at 97.5 %."""
_DRAWS = 200
_DOUBTFUL = 5
_MOST_ROWS = 20_000
_OUTSIDE = 0.1
_RARELY = 2.3
"""Standard deviations that chance exceeds once in a hundred times."""
_TOO_FAR = 3.0


@dataclass(frozen=True)
class QualityCheck:
    """The estimate for rows whose labels are known, beside the truth."""

    rows: int
    estimated: float
    low: float
    high: float
    truth: float
    holds: bool
    """Whether the truth lies within three standard deviations of the draws."""


@dataclass(frozen=True)
class EstimatedQuality:
    """What the metric will be when the labels are there."""

    metric: str
    rows: int
    value: float | None
    low: float | None
    """The metric is between ``low`` and ``high`` in 95 of 100 windows for which the assumptions hold."""
    high: float | None
    expected: float | None
    """The metric on the serving version's hold-out."""
    max_drop: float | None
    outside: float | None
    """Share of the rows that lie outside of the reference: beyond its range, or in a new category, where more
    of them are than of the held-out rows."""
    check: QualityCheck | None
    """None while too few labels are known."""
    decayed: bool | None
    """None if it cannot be judged; see ``note``."""
    note: str | None = None
    outside_in: str | None = None
    """The feature by which most of them do; None: none alone, or there are none."""
    doubtful: tuple[str, ...] = ()
    """Ids of the predictions whose losses are expected to be the largest."""


class Predictions(NamedTuple):
    """Predictions as the log has them."""

    rows: pl.DataFrame
    """With ``score``, and ``answer`` for tasks with one; ``label`` and ``target`` where they are known."""
    features: pl.DataFrame
    """Of the same rows, by their names."""

    def taken(self, places: npt.NDArray[Any]) -> "Predictions":
        """Return the rows at ``places``, or where it is true."""
        return Predictions(taken(self.rows, places), taken(self.features, places))

    def sampled(self) -> "Predictions":
        """Return all rows, or as many as an estimate needs."""
        if self.rows.height <= _MOST_ROWS:
            return self
        return self.taken(np.random.default_rng(0).permutation(self.rows.height)[:_MOST_ROWS])


def estimate(
    reference: ReferenceRows,
    window: Predictions,
    labelled: Predictions,
    task: Task,
    config: QualityConfig,
    on_holdout: Expected,
    min_labelled: int,
) -> EstimatedQuality:
    """Estimate the quality of a window's predictions from a reference.

    Args:
        reference: of the version; its held-out rows count.
        window: predictions of the version.
        labelled: the version's latest predictions with known labels.
        task: what is predicted.
        config: which metric is judged, and when it is too low.
        on_holdout: returns a metric on the version's hold-out; None if there is none on record.
        min_labelled: with fewer labels the estimate is not checked by them.
    """
    task = task.judged_by(config.metric)
    metric, expected = task.metric, on_holdout(task.metric)
    allowed = None if expected is None else config.drop_allowed(metric, expected)
    made = EstimatedQuality(
        metric, window.rows.height, None, None, None, expected, allowed, None, None, None, None
    )
    if task.kind == "custom":
        return replace(made, note="answers of a custom task say nothing of their errors")
    known = HeldOut.of(reference, task, window.features.columns)
    if known is None:
        least = f"{LEAST} held-out rows with labels are needed"
        return replace(made, note=f"{least}: the version's reference has fewer, or is of an earlier release")
    draw = _drawing(known, task)
    drawn = _draws(draw, window.sampled(), task)
    if not len(drawn.values):
        return replace(made, note=f"{metric_of(metric).name} is undefined for labels as they may be")
    value, low, high = _interval(drawn.values)
    outside, by = _outside(reference.features, known.features, window.features)
    made = replace(made, value=value, low=low, high=high, outside=outside, outside_in=by)
    made = replace(made, doubtful=drawn.doubtful)
    if labelled.rows.height >= min_labelled:
        made = replace(made, check=_check(draw, labelled, task))
    return _judge(made, config)


class _Drawn(NamedTuple):
    values: Floats
    """The metric under each draw of the rows' labels, where it is defined."""
    doubtful: tuple[str, ...]
    """Ids of the rows whose mean loss over the draws is largest; none where rows have no ids."""


def _draws(draw: Draw, predictions: Predictions, task: Task) -> _Drawn:
    """Measure the rows under each draw of their labels."""
    answers = task.given_in_log(predictions.rows)
    sound = task.sound(answers)
    answers = answers[sound]
    features = taken(predictions.features, sound)
    weights, losses = np.ones((1, len(answers))), np.zeros(len(answers))
    found = []
    for labels in draw(features, answers):
        found.append(task.measure(task.metric, labels, answers)(weights)[0])
        losses += task.losses(labels, answers) / _DRAWS
    ids = predictions.rows.get_column("prediction_id", default=None)
    doubtful = [] if ids is None else ids.filter(pl.Series(sound))[np.argsort(-losses)[:_DOUBTFUL]].to_list()
    values = np.array(found, dtype=np.float64)
    values = values[np.isfinite(values)]
    wider = _WIDER if task.kind == "regression" and len(values) else 1.0
    wide = values if wider == 1.0 else values.mean() + wider * (values - values.mean())
    return _Drawn(wide, tuple(doubtful))


def _drawing(known: HeldOut, task: Task) -> Draw:
    """Return what draws labels, for the window and for the rows that check it; models are fitted once."""
    if task.kind == "regression":
        models, names = ErrorModels(known.features, known.truth, known.answers), known.features.columns
        return lambda rows, answers: models.draw(
            rows.select(literal_names(names)), answers, _DRAWS, np.random.default_rng(0)
        )
    before, truth = as_classes(known.answers), known.truth.astype(np.int64)
    return lambda _, answers: draw_classes(
        before, truth, as_classes(answers), _DRAWS, np.random.default_rng(0)
    )


def _interval(draws: Floats) -> tuple[float, float, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(draws.mean()), float(low), float(high)


def _check(draw: Draw, labelled: Predictions, task: Task) -> QualityCheck | None:
    truth = task.truth_of_log(labelled.rows)
    chosen = labelled.taken(np.isfinite(truth)).sampled()
    draws = _draws(draw, chosen, task).values
    found = task.evaluate(task.truth_of_log(chosen.rows), task.given_in_log(chosen.rows))[task.metric]
    if len(draws) < 2 or not np.isfinite(found):
        return None
    value, low, high = _interval(draws)
    holds = abs(found - value) <= _TOO_FAR * float(draws.std(ddof=1))
    return QualityCheck(chosen.rows.height, value, low, high, found, bool(holds))


def _judge(made: EstimatedQuality, config: QualityConfig) -> EstimatedQuality:
    assert made.high is not None
    metric, strange = metric_of(made.metric), None
    if made.outside is not None and made.outside > _OUTSIDE:
        by = "" if made.outside_in is None else f", by {made.outside_in}"
        strange = f"{made.outside:.0%} of the rows are unlike any row of the training set{by}"
    if made.check is not None and not made.check.holds:
        told, sign = made.check, metric.sign
        low, high = sorted((sign * told.low, sign * told.high))
        return replace(
            made,
            note=f"for {counted(told.rows, 'row')} whose labels are known, {metric.name} would be "
            f"estimated as {sign * told.estimated:.4g} ({low:.4g} to {high:.4g}), "
            f"and is {sign * told.truth:.4g}: "
            + (strange or "labels depend on the rows in another way than in training"),
        )
    if strange is not None:
        return replace(made, note=strange)
    too_low = config.floor is not None and made.high < config.floor
    if made.expected is None and config.floor is None:
        return replace(made, note=f"no hold-out {metric.name} is on record for this version")
    if made.expected is not None and made.max_drop is not None:
        too_low = too_low or made.high < made.expected - made.max_drop
    return replace(made, decayed=too_low)


def _outside(before: pl.DataFrame, held_out: pl.DataFrame, now: pl.DataFrame) -> tuple[float, str | None]:
    """Return the share of rows that are unlike all of ``before``, and the feature by which most of them are.

    Either of one column, which is beyond its range or in a new category, or of rows where more columns are
    than chance brings: of as many rows as ``before`` has, two would lie outside by a number. Moments do not
    count, as they are later by themselves. Nor do as many new categories as the held-out rows have: the
    estimate rests on these, and a column of customers always has some.
    """
    counts, worst, by, columns = np.zeros(now.height), 0.0, None, 0
    for name in before.columns:
        if name not in now.columns or before[name].dtype.is_temporal():
            continue
        known, values = as_comparable(before[name]), as_comparable(now[name])
        outside = _column_outside(known, values)
        share = float(outside.mean())
        if share > worst and values.dtype != pl.Float64 and name in held_out.columns:
            share -= float(_column_outside(known, as_comparable(held_out[name])).mean())
        counts, columns = counts + outside, columns + 1
        worst, by = (share, name) if share > worst else (worst, by)
    if not columns:
        return 0.0, None
    by_chance = 2 * columns / max(before.height, 1)
    many = math.ceil(1 + by_chance + _RARELY * math.sqrt(by_chance))
    together = float((counts >= many).mean())
    return (together, None) if together > worst else (worst, by)


def _column_outside(known: pl.Series, values: pl.Series) -> npt.NDArray[np.bool_]:
    found = pl.Series([False] * len(values), dtype=pl.Boolean)
    if known.dtype == pl.Float64 and values.dtype == pl.Float64:
        low, high = known.min(), known.max()
        if low is not None and high is not None:
            found = ((values < low) | (values > high)).fill_null(False)
    else:
        seen = known.drop_nulls().cast(pl.String).unique()
        found = ~values.cast(pl.String).is_in(seen.implode()).fill_null(True)
    return np.asarray((found | values.is_null() if known.null_count() == 0 else found).to_numpy())
