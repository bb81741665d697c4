"""Stops bad trials before their last round, by one of Ray Tune's schedulers."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from tidemill.training.search.search_journal import KnownTrial

__all__ = ["make_scheduler", "replay"]

_REDUCTION = 4
_ROUND = "training_iteration"
_LEAST_COMPARED = 3


class _SeededBrackets(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Chooses the bracket of each trial by its number: a draw would be another one in a resumed search."""

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take the bracket that the trial's number draws."""
        before = np.random.get_state()
        np.random.seed(trial.config["trial"]["number"])
        try:
            super().on_trial_add(tune_controller, trial)
        finally:
            np.random.set_state(before)


@dataclass(frozen=True, eq=False)
class _EarlierTrial:
    """Stands for a trial of an earlier process, with what schedulers ask of one."""

    trial_id: str
    config: Mapping[str, Any]


def make_scheduler(
    kind: Literal["none", "asha", "hyperband", "median"], metric: str, rounds: int
) -> TrialScheduler | None:
    """Return the scheduler for trials of at most ``rounds`` rounds; None: each trial runs to its last round.

    ``hyperband`` is the asynchronous one, which pauses no trial: families cannot go on from a pause.

    >>> make_scheduler("asha", "roc_auc", rounds=1) is None
    True
    """
    if kind == "none" or rounds < 2:
        return None
    if kind == "median":
        return MedianStoppingRule(
            _ROUND,
            metric,
            mode="max",
            grace_period=1,
            min_samples_required=_LEAST_COMPARED,
            min_time_slice=math.inf,  # else it would pause trials, which begin anew afterwards
        )
    brackets = 1 if kind == "asha" else int(math.log(rounds, _REDUCTION)) + 1
    return _SeededBrackets(
        _ROUND,
        metric,
        mode="max",
        max_t=rounds,
        grace_period=1,
        brackets=brackets,
        reduction_factor=_REDUCTION,
    )


def replay(scheduler: TrialScheduler | None, trials: Iterable[KnownTrial]) -> None:
    """Tell a scheduler what trials of an earlier process gave, in the order in which they gave it."""
    if scheduler is None:
        return
    ended = {trial.number: trial for trial in trials}
    stand_ins = {
        number: _EarlierTrial(f"earlier_{number}", {"trial": {"number": number}}) for number in ended
    }
    results: dict[int, dict[str, Any]] = {number: {} for number in ended}
    stopped = set()
    for trial in stand_ins.values():
        scheduler.on_trial_add(None, trial)
    events = [
        (line, number, place) for number, trial in ended.items() for place, line in enumerate(trial.lines, 1)
    ]
    for _, number, place in sorted(events):
        results[number] = {_ROUND: place, **ended[number].rounds[place - 1]}
        if number not in stopped:
            decided = scheduler.on_trial_result(None, stand_ins[number], results[number])
            stopped |= {number} if decided == TrialScheduler.STOP else set()
        if place == len(ended[number].rounds):
            scheduler.on_trial_complete(None, stand_ins[number], results[number])
