"""Plays the end of a turn over the past: at once, or after the proof that a rollout asks for."""

from datetime import datetime, timedelta
from typing import NamedTuple

from tidemill.monitoring.quality.label_maturity import label_lag
from tidemill.plurals import counted
from tidemill.project.serve_config import ProofConfig
from tidemill.retraining.backtest.fitted_models import Fitted
from tidemill.retraining.backtest.played_past import Past
from tidemill.rollouts.live_proof import compare_live

__all__ = ["PlayedEnd", "play_proof", "too_few"]


class PlayedEnd(NamedTuple):
    """What became of a version that the gate passed."""

    status: str
    """``promoted`` or ``rolled_back``; ``rollout`` if the play ends before."""
    at: datetime
    """When it was promoted, or went back."""
    proof: str | None = None
    """What a proof came to, in a sentence."""
    unproven: bool = False
    """Whether there were too few labels to compare the versions by."""


def play_proof(
    past: Past, champion: Fitted, candidate: Fitted, now: datetime, config: ProofConfig
) -> PlayedEnd:
    """Let a candidate prove itself on the days that follow ``now``, by the rules of a rollout.

    It is decided when the labels of these days are known; without enough of them it goes back.
    """
    until = now + timedelta(days=config.days)
    places = past.places(now, until)
    known, dataset = past.project.config.dataset.label_known, past.project.config.dataset
    if known is not None and len(places):
        rows = past.rows[places]
        until += label_lag(rows[dataset.time_column], rows[known])
        places = places[(rows[known] <= until).to_numpy()]
    if until >= past.end:
        return PlayedEnd("rollout", past.end, "the play ends before")
    if len(places) < config.min_labels:
        return PlayedEnd("rolled_back", until, too_few(len(places), config), unproven=True)
    rows, task = past.rows[places], past.project.task
    found = compare_live(
        task,
        past.project.config.gate,
        config,
        task.truth(rows, dataset.label),
        (past.answers(candidate)[places], past.answers(champion)[places]),
        rows[dataset.time_column].dt.date().to_numpy(),
        (f"{now:%Y-%m-%d}", f"{champion.as_of:%Y-%m-%d}"),
    )
    return PlayedEnd("promoted" if found.passed else "rolled_back", until, found.reasons[0])


def too_few(labels: int, config: ProofConfig) -> str:
    """Say that a proof has not the labels that it needs.

    >>> too_few(312, ProofConfig())
    '312 labels in 14 days, 500 are needed'
    """
    return f"{counted(labels, 'label')} in {config.days:g} days, {config.min_labels:,} are needed"
