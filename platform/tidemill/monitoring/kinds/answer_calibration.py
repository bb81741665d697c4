"""Judges whether probabilities are frequencies, and whether intervals hold their share of the labels.

What chance brings is measured with labels as the hold-out had them for such answers. Rows of one day resemble
each other, so the hold-out is drawn by parts of rows that follow each other, and what the window's labels
stray from that is given a weight of its own in each such part (wild bootstrap: Wu, Annals of Statistics 14,
1986).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tidemill.monitoring.drift.chance import rareness
from tidemill.monitoring.example_predictions import worst_ids
from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import CalibrationConfig
from tidemill.monitoring.quality.held_out import LEAST, HeldOut
from tidemill.monitoring.quality.label_draws import as_classes, draw_chances
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.plurals import counted
from tidemill.tasks.calibration_error import calibration_error
from tidemill.tasks.task import Answers, Task

__all__ = ["judge"]

Floats = npt.NDArray[np.float64]
_BINS = 10
_DRAWS = 100
_BLOCKS = 20
_RARELY = 2.6
"""Standard deviations that chance exceeds once in two hundred windows."""


def judge(window: WindowRows, config: CalibrationConfig) -> Judged:
    """Compare probabilities with frequencies; of custom tasks, count the labels that intervals hold."""
    if window.task.kind == "custom":
        return _intervals(window, config)
    task, rows = window.task, window.labelled.sort("at", "prediction_id")
    truth, answers = task.truth_of_log(rows), task.given_in_log(rows)
    usable = np.isfinite(truth) & task.sound(answers)
    if usable.sum() < window.monitor.min_labelled:
        return Judged(
            unjudged=f"{counted(int(usable.sum()), 'label')}, {window.monitor.min_labelled:,} are needed"
        )
    known = HeldOut.of(window.reference, task)
    if known is None:
        return Judged(unjudged=f"{LEAST} held-out rows with labels are needed, of a version of this release")
    rows, truth, answers = rows.filter(pl.Series(usable)), truth[usable], answers[usable]
    found = _measured(window, known, truth, answers)
    rise, said = found.value - found.chance, []
    if found.beyond_chance and rise > config.max_rise:
        said.append(f"{rise:.3f} more than on the hold-out (allowed: {config.max_rise:g})")
    if config.ceiling is not None and found.value - _RARELY * found.error > config.ceiling:
        said.append(f"above the ceiling of {config.ceiling:g}")
    of = f" of {found.of}" if found.of else ""
    figure = f"probabilities{of} are off by {found.value:.3f} on average ({counted(found.rows, 'label')})"
    side = f"mean {found.mean:.3f}, frequency {found.frequency:.3f}"
    details = {**found.__dict__, "max_rise": config.max_rise, "ceiling": config.ceiling}
    message = f"{figure}: {', '.join(said)}; {side}"
    return Judged(
        found=(Finding("calibration", message, details),) if said else (),
        results={"calibration": details},
        examples={"calibration": worst_ids(rows["prediction_id"], _off(task, truth, answers, found))},
        said=f"{figure}, {found.chance:.3f} with labels as on the hold-out; alert {config.max_rise:g} above",
    )


@dataclass(frozen=True)
class _Measured:
    """The calibration of a window."""

    value: float
    """The expected calibration error."""
    rows: int
    chance: float
    """What it would be on average if labels were as the hold-out's were for such probabilities."""
    error: float
    """The standard deviation of that."""
    rareness: float
    """Of the value, in standard deviations of a normal."""
    mean: float
    frequency: float
    of: str | None
    """The class that is furthest off, of several."""

    @property
    def beyond_chance(self) -> bool:
        """Return whether labels as on the hold-out seldom bring as much."""
        return self.rareness > _RARELY


def _measured(window: WindowRows, known: HeldOut, truth: Floats, answers: Answers) -> _Measured:
    """Measure the window, and the same answers with labels as the hold-out had them for such answers.

    Of several classes the one whose probabilities are furthest off counts, here and there.
    """
    now = as_classes(answers)
    judged = range(1, 2) if now.shape[1] == 2 else range(now.shape[1])
    found = [calibration_error(now[:, place], (truth == place).astype(np.float64)) for place in judged]
    drawn = _drawn(known, truth, now, judged)
    worst = judged[int(np.argmax(found))]
    classes = getattr(window.task, "classes", ())
    return _Measured(
        max(found),
        len(truth),
        float(drawn.mean()),
        float(drawn.std(ddof=1)),
        rareness(max(found), drawn),
        float(now[:, worst].mean()),
        float((truth == worst).mean()),
        str(classes[worst]) if len(judged) > 1 else None,
    )


def _off(task: Task, truth: Floats, answers: Answers, found: _Measured) -> pl.Series:
    """Return how far each probability is from what came true, of the class that is furthest off.

    Where most of the fault is that probabilities are too low, or too high, only such ones count.
    """
    classes = [str(name) for name in getattr(task, "classes", ())]
    place = 1 if found.of is None else classes.index(found.of)
    rise = (truth == place) - as_classes(answers)[:, place]
    bias = found.frequency - found.mean
    return pl.Series(np.sign(bias) * rise if abs(bias) > found.value / 2 else np.abs(rise))


def _drawn(known: HeldOut, truth: Floats, now: Floats, judged: Sequence[int]) -> Floats:
    """Return what the error would be with labels as on the hold-out, for each draw."""
    rng, rows, bins = np.random.default_rng(0), len(truth), [_bins(now[:, place]) for place in judged]
    off, usual = list[list[Floats]](), np.zeros(now.shape)
    before, labels = as_classes(known.answers), known.truth.astype(np.int64)
    for chances in draw_chances(before, labels, now, _DRAWS, rng, _BLOCKS):
        usual += chances / _DRAWS
        gaps = now - chances
        each = [np.bincount(bins[n], gaps[:, place], _BINS) for n, place in enumerate(judged)]
        off.append([np.asarray(one, dtype=np.float64) for one in each])
    block = np.arange(rows) * _BLOCKS // rows
    weights = rng.normal(size=(_DRAWS, _BLOCKS)) * math.sqrt(_BLOCKS / (_BLOCKS - 1))
    errors = []
    for number, place in enumerate(judged):
        strayed = (truth == place) - usual[:, place]
        sums = np.bincount(block * _BINS + bins[number], strayed, _BLOCKS * _BINS).reshape(_BLOCKS, _BINS)
        by_chance = weights @ (sums - sums.mean(axis=0))
        errors.append(np.abs(np.array([each[number] for each in off]) - by_chance).sum(axis=1) / rows)
    drawn: Floats = np.max(errors, axis=0)
    return drawn


def _bins(probability: Floats) -> npt.NDArray[np.int64]:
    """Return for each row the number of its bin, of ten of as many rows each."""
    places = np.empty(len(probability), dtype=np.int64)
    places[np.argsort(probability, kind="stable")] = np.arange(len(probability)) * _BINS // len(probability)
    return places


def _intervals(window: WindowRows, config: CalibrationConfig) -> Judged:
    """Count the labels that lie in the intervals of custom answers."""
    assert config.interval is not None
    low, high = config.interval
    held, ids, outside, widths = [], list[str](), list[float](), list[float]()
    for name, answer, label in window.labelled.select("prediction_id", "answer", "target").iter_rows():
        given, truth = json.loads(answer or "null"), json.loads(label or "null")
        if isinstance(given, dict) and all(
            _is_number(one) for one in (given.get(low), given.get(high), truth)
        ):
            held.append(given[low] <= truth <= given[high])
            ids.append(name)
            outside.append(max(given[low] - truth, truth - given[high], 0.0))
            widths.append(given[high] - given[low])
    if len(held) < window.monitor.min_labelled:
        told = f"{len(held)} labelled answers with {low} and {high}, {window.monitor.min_labelled} are needed"
        return Judged(unjudged=told)
    share, allowed = float(np.mean(held)), config.max_rise
    error = float(np.sqrt(config.coverage * (1 - config.coverage) / len(held)))
    off = abs(share - config.coverage)
    figure = f"{share:.1%} of {len(held):,} labels lie between {low} and {high}, {config.coverage:.1%} should"
    details = {"coverage": share, "expected": config.coverage, "rows": len(held), "max_rise": allowed}
    odd = outside if share < config.coverage else widths
    far = off > allowed and off > _RARELY * error
    return Judged(
        found=(Finding("calibration", f"{figure} (allowed: {allowed:.1%} off)", details),) if far else (),
        results={"calibration": details},
        examples={"calibration": worst_ids(pl.Series(ids), pl.Series(odd, dtype=pl.Float64))},
        said=f"{figure}; alert at {allowed:.1%} off",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
