"""Finds since when a model makes more mistakes, as detectors of river say it.

They are river's ``PageHinkley`` (E. S. Page, Biometrika 41, 1954) and ``DDM`` (Gama, Medas, Castillo and
Rodrigues, SBIA 2004) as they come. They see mistakes, first the hold-out's and then the window's, not losses:
their limits are fixed numbers, and those fit no spread of losses.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tidemill.monitoring.kind_sections import DdmDetector, PageHinkleyDetector, RiverDetector
from tidemill.monitoring.quality.error_changes import clustering
from tidemill.monitoring.quality.held_out import HeldOut
from tidemill.tasks.task import Answers, Task

__all__ = ["MistakeRise", "SaidChange", "mistake_rise", "mistakes_of", "rise_beyond_inputs", "said_changes"]

Floats = npt.NDArray[np.float64]
_LEAST_AFTER = 30
_RARELY = 2.58
"""Standard deviations that chance exceeds once in two hundred windows."""


class SaidChange(NamedTuple):
    """Where a detector said that mistakes have changed, as places of the window's rows."""

    warned: int | None
    """Where it began to warn of it, in the window; None if it did not."""
    said: int

    @property
    def since(self) -> int:
        """Return from which row on there is a change."""
        return self.said if self.warned is None else self.warned


class MistakeRise(NamedTuple):
    """The mistakes of a window beside those on the hold-out."""

    before: float
    """Share of mistakes on the hold-out."""
    after: float
    """Share of mistakes from the change to the next one, or to the end; without one, in the whole window."""
    change: SaidChange | None
    """The first one to more mistakes by as much as is allowed; None: the detector said none."""
    rows: tuple[int, int]
    """Place of the first row that `after` is of, and of the first one behind them."""
    for_inputs: bool = False
    """Whether shares are what they would be for the same inputs."""

    @property
    def since(self) -> int:
        """Return the place of the first row after the change."""
        return 0 if self.change is None else self.change.since

    @property
    def share(self) -> float:
        """Return by which share of that on the hold-out mistakes are more."""
        return self.after / self.before - 1 if self.before > 0 else math.inf

    @property
    def significant(self) -> bool:
        """Return whether the detector said that mistakes have become more."""
        return self.change is not None


def said_changes(detector: RiverDetector, before: Floats, now: Floats) -> list[SaidChange]:
    """Return each change that a detector finds in ``now`` after it has seen ``before``.

    Args:
        detector: as it is declared.
        before: numbers in order, for DDM 0 and 1.
        now: those that follow.

    >>> calm, then = np.tile([1.0, 0.0, 0.0, 0.0], 250), np.tile([1.0, 0.0], 150)
    >>> said_changes(PageHinkleyDetector(), calm, np.concatenate([calm, then]))
    [SaidChange(warned=None, said=1214)]
    >>> said_changes(DdmDetector(), calm, np.concatenate([calm, then]))
    [SaidChange(warned=1080, said=1168)]
    """
    river, found = _of_river(detector), list[SaidChange]()
    for value in before.tolist():
        river.update(value)
    warns, since = _warns(river), None
    for row, value in enumerate(now.tolist()):
        river.update(value)
        if river.drift_detected:
            found.append(SaidChange(since, row))
        warned, warns = warns, _warns(river)
        if not warns:
            since = None
        elif not warned:
            since = row
    return found


def _warns(river: Any) -> bool:
    return bool(getattr(river, "warning_detected", False))  # PageHinkley never does


def _of_river(detector: RiverDetector) -> Any:
    from river.drift import PageHinkley  # it takes a second to import, and is not always installed
    from river.drift.binary import DDM

    parameters = detector.model_dump(exclude={"name"})
    return (PageHinkley if isinstance(detector, PageHinkleyDetector) else DDM)(**parameters)


def mistakes_of(task: Task, known: HeldOut, truth: Floats, answers: Answers) -> tuple[Floats, Floats]:
    """Return 1 where an answer is a mistake, else 0: of the hold-out, and of the rows of a window.

    A number is one if it is further off than half of the hold-out's are.
    """
    usual = float(np.median(task.losses(known.truth, known.answers)))
    before = task.mistakes(known.truth, known.answers, usual)
    return before.astype(np.float64), task.mistakes(truth, answers, usual).astype(np.float64)


def mistake_rise(detector: RiverDetector, holdout: Floats, window: Floats, allowed: float) -> MistakeRise:
    """Return the first rise of mistakes that a detector says and that is as large as is allowed.

    DDM sees as many rows of the hold-out as the window has: after thousands its mean hardly moves.

    Args:
        detector: as it is declared.
        holdout: 1 where the answer is a mistake, else 0.
        window: the same, in the order of time.
        allowed: share of the hold-out's mistakes from which on more of them are a rise.
    """
    usual, rows = float(holdout.mean()), len(window)
    seen = holdout[-rows:] if isinstance(detector, DdmDetector) else holdout
    changes = said_changes(detector, seen, window)
    for number, change in enumerate(changes, 1):
        end = changes[number].said if number < len(changes) else rows
        last = min(max(end, change.since + _LEAST_AFTER), rows)
        first = max(min(change.since, last - _LEAST_AFTER), 0)
        found = MistakeRise(usual, float(window[first:last].mean()), change, (first, last))
        if found.after > usual and found.share >= allowed:
            return found
    return MistakeRise(usual, float(window.mean()), None, (0, rows))


def rise_beyond_inputs(
    rise: MistakeRise, holdout: Floats, window: Floats, places: npt.NDArray[np.intp]
) -> MistakeRise:
    """Return a rise as it would be for the same inputs; it is none where chance may bring that about.

    Args:
        rise: of the mistakes themselves.
        holdout: mistakes of the hold-out beyond what inputs bring.
        window: those of rows of the window whose inputs the hold-out has.
        places: of these rows in the window.
    """
    first, last = rise.rows
    since = window[(places >= first) & (places < last)]
    usual = float(holdout.mean())
    if len(since) < _LEAST_AFTER:
        return MistakeRise(usual, float(window.mean()), None, (0, len(window)), for_inputs=True)
    noise = math.sqrt(holdout.var() / len(holdout) + (clustering(since) * since.std()) ** 2 / len(since))
    after = float(since.mean())
    change = rise.change if after - usual > _RARELY * noise else None
    return MistakeRise(usual, after, change, rise.rows, for_inputs=True)
