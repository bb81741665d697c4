"""Holds what a strategy came to in a play: its turns, and the metric of each month."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from tidemill.retraining.backtest.strategies import Strategy

__all__ = ["Played", "PlayedTurn"]


@dataclass(frozen=True)
class PlayedTurn:
    """A turn that would have been made."""

    at: datetime
    status: str
    reason: str
    gain: float | None
    """Of the candidate over the champion before it, in the metric, over the 30 days that followed."""
    window: str | None = None
    """The window that the candidate learnt from, where it was chosen from several."""
    surely: bool = False
    """Whether the candidate was worse beyond chance: the whole 90 % interval of its gain lies below zero."""
    error: float | None = None
    """The standard error of the gain, by a paired bootstrap over days; None: unknown, or nobody asks."""
    proof: str | None = None
    """What a proof came to, in a sentence; None: there was none."""
    unproven: bool = False
    """Whether the proof had too few labels to compare by."""

    @property
    def passed(self) -> bool:
        """Whether the gate passed it, whatever a proof said then."""
        return self.status in ("promoted", "rolled_back")

    @property
    def surely_wrong(self) -> bool:
        """Whether it was wrong beyond chance."""
        return self.wrong and self.surely

    @property
    def wrong(self) -> bool:
        """Whether a candidate was promoted that was then worse."""
        return self.status == "promoted" and self.gain is not None and self.gain < 0


@dataclass(frozen=True)
class Played:
    """What a strategy would have come to."""

    name: str
    turns: tuple[PlayedTurn, ...]
    periods: tuple[tuple[str, float], ...]
    """Month → the metric of the answers in it."""
    seconds: float
    """CPU time of its fits."""
    strategy: Strategy | None = None
    """Its policies, and what decides on candidates; None for what policies are compared with."""

    @property
    def promoted(self) -> int:
        """How many versions were promoted."""
        return sum(turn.status == "promoted" for turn in self.turns)

    @property
    def judged(self) -> int:
        """How many of the promotions the days after judge."""
        return sum(turn.status == "promoted" and turn.gain is not None for turn in self.turns)

    @property
    def wrong(self) -> int:
        """How many of the promotions were wrong."""
        return sum(turn.wrong for turn in self.turns)

    @property
    def mean(self) -> float:
        """The mean of the periods' metrics."""
        known = [value for _, value in self.periods if np.isfinite(value)]
        return float(np.mean(known)) if known else float("nan")
