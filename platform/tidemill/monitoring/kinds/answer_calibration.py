"""Judges whether probabilities are frequencies, and whether intervals hold their share of the labels."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.monitoring.findings import Finding, Judged
from tidemill.monitoring.kind_sections import CalibrationConfig
from tidemill.monitoring.quality.held_out import LEAST, HeldOut
from tidemill.monitoring.quality.label_draws import as_classes, draw_classes
from tidemill.monitoring.windows.window_rows import WindowRows
from tidemill.tasks.task import Answers

__all__ = ["calibration_error", "judge"]

Floats = npt.NDArray[np.float64]
_BINS = 10
_DRAWS = 100
_RARELY = 2.6
"""Standard deviations that chance exceeds once in two hundred windows."""


def judge(window: WindowRows, config: CalibrationConfig) -> Judged:
    """Compare probabilities with frequencies; of custom tasks, count the labels that intervals hold."""
    if window.task.kind == "custom":
        return _intervals(window, config)
    task = window.task
    truth, answers = task.truth_of_log(window.labelled), task.given_in_log(window.labelled)
    usable = np.isfinite(truth) & task.sound(answers)
    if usable.sum() < window.monitor.min_labelled:
        return Judged(unjudged=f"{usable.sum()} labels, {window.monitor.min_labelled} are needed")
    known = HeldOut.of(window.reference, task)
    if known is None:
        return Judged(unjudged=f"{LEAST} held-out rows with labels are needed, of a version of this release")
    found = _measured(window, known, truth[usable], answers[usable])
    rise, said = found.value - found.chance, []
    if found.beyond_chance and rise > config.max_rise:
        said.append(f"{rise:.3f} more than on the hold-out (allowed: {config.max_rise:g})")
    if config.ceiling is not None and found.value - _RARELY * found.error > config.ceiling:
        said.append(f"above the ceiling of {config.ceiling:g}")
    of = f" of {found.of}" if found.of else ""
    figure = f"probabilities{of} are off by {found.value:.3f} on average ({found.rows:,} labels)"
    side = f"mean {found.mean:.3f}, frequency {found.frequency:.3f}"
    details = {**found.__dict__, "max_rise": config.max_rise, "ceiling": config.ceiling}
    message = f"{figure}: {', '.join(said)}; {side}"
    return Judged(
        found=(Finding("calibration", message, details),) if said else (),
        results={"calibration": details},
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
    mean: float
    frequency: float
    of: str | None
    """The class that is furthest off, of several."""

    @property
    def beyond_chance(self) -> bool:
        """Return whether labels as on the hold-out seldom bring as much."""
        return self.value > self.chance + _RARELY * self.error


def _measured(window: WindowRows, known: HeldOut, truth: Floats, answers: Answers) -> _Measured:
    """Measure the window, and the same answers with labels as the hold-out had them for such answers.

    Of several classes the one whose probabilities are furthest off counts, here and there.
    """
    before, now = as_classes(known.answers), as_classes(answers)
    judged = range(1, 2) if now.shape[1] == 2 else range(now.shape[1])

    def errors(labels: npt.NDArray[Any]) -> list[float]:
        return [calibration_error(now[:, place], (labels == place).astype(np.float64)) for place in judged]

    labelled, found = known.truth.astype(np.int64), errors(truth)
    drawn = [
        max(errors(labels))
        for labels in draw_classes(before, labelled, now, _DRAWS, np.random.default_rng(0))
    ]
    worst = judged[int(np.argmax(found))]
    classes = getattr(window.task, "classes", ())
    return _Measured(
        max(found),
        len(truth),
        float(np.mean(drawn)),
        float(np.std(drawn, ddof=1)),
        float(now[:, worst].mean()),
        float((truth == worst).mean()),
        str(classes[worst]) if len(judged) > 1 else None,
    )


def calibration_error(probability: Floats, came_true: Floats) -> float:
    """Return the mean distance of probabilities from frequencies, over ten bins of as many rows each.

    The expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015).

    >>> calibration_error(np.repeat([0.2, 0.8], 50), np.tile([0.0, 0.0, 0.0, 0.0, 1.0], 20))
    0.3
    """
    order = np.argsort(probability, kind="stable")
    gaps = probability[order] - came_true[order]
    parts = np.array_split(gaps, _BINS)
    return float(sum(abs(part.sum()) for part in parts) / len(gaps))


def _intervals(window: WindowRows, config: CalibrationConfig) -> Judged:
    """Count the labels that lie in the intervals of custom answers."""
    assert config.interval is not None
    low, high = config.interval
    held = []
    for answer, label in window.labelled.select("answer", "target").iter_rows():
        given, truth = json.loads(answer or "null"), json.loads(label or "null")
        if isinstance(given, dict) and all(
            _is_number(one) for one in (given.get(low), given.get(high), truth)
        ):
            held.append(given[low] <= truth <= given[high])
    if len(held) < window.monitor.min_labelled:
        told = f"{len(held)} labelled answers with {low} and {high}, {window.monitor.min_labelled} are needed"
        return Judged(unjudged=told)
    share, allowed = float(np.mean(held)), config.max_rise
    error = float(np.sqrt(config.coverage * (1 - config.coverage) / len(held)))
    off = abs(share - config.coverage)
    figure = f"{share:.1%} of {len(held):,} labels lie between {low} and {high}, {config.coverage:.1%} should"
    details = {"coverage": share, "expected": config.coverage, "rows": len(held), "max_rise": allowed}
    far = off > allowed and off > _RARELY * error
    return Judged(
        found=(Finding("calibration", f"{figure} (allowed: {allowed:.1%} off)", details),) if far else (),
        results={"calibration": details},
        said=f"{figure}; alert at {allowed:.1%} off",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
