"""The card of a version: what is on record about it, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = [
    "CardCalibration",
    "CardFeature",
    "CardFigure",
    "CardGate",
    "CardGroup",
    "CardPeriod",
    "CardUse",
    "LiveFigure",
    "ModelCard",
]


@dataclass(frozen=True)
class CardFeature:
    """A feature, by the fitted rows that are kept with the version."""

    name: str
    type: str
    missing: float
    """Share of the rows."""
    different: int
    """Number of its different values."""
    mean: float | None
    """None of what is no number."""
    deviation: float | None


@dataclass(frozen=True)
class CardFigure:
    """A metric by its natural name and sign on one part of the data, with its 90 % interval, if any."""

    part: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class CardGate:
    """The gate's last decision."""

    passed: bool
    mode: str
    champion: str | None
    metric: str | None
    gain: float | None
    """On record, where higher is better for every metric."""
    low: float | None
    high: float | None
    rows: int | None
    reasons: tuple[str, ...]
    at: datetime


@dataclass(frozen=True)
class CardCalibration:
    """How far probabilities are from frequencies on average."""

    on: str
    error: float
    chance: float | None
    """What labels as on the hold-out would bring; None where that is not on record."""
    rows: int


@dataclass(frozen=True)
class CardGroup:
    """A slice, or a group whose treatment is compared, in the last window that was judged."""

    kind: str
    """``slice`` or ``fairness``."""
    name: str
    metric: str
    value: float | None
    beside: float | None
    """Of a slice: on the hold-out. Of a group: of all other rows."""
    rows: int | None
    at: datetime


@dataclass(frozen=True)
class LiveFigure:
    """The quality in the last window of a monitor."""

    monitor: str
    how: str
    """``measured`` with labels, or ``estimated`` without."""
    metric: str
    value: float
    low: float | None
    high: float | None
    rows: int
    start: datetime
    end: datetime


@dataclass(frozen=True)
class CardUse:
    """The rows that replicas scored with the version in one role."""

    role: str
    answered: int
    failed: int
    last_at: datetime
    """By the clock of the machine."""


@dataclass(frozen=True)
class CardPeriod:
    """A period in which it was champion."""

    since: datetime
    until: datetime | None
    how: str
    by: str
    why: str


@dataclass(frozen=True)
class ModelCard:
    """All of it. What is not on record is None or empty, never a guess."""

    model: str
    version: str
    made_at: datetime
    """When the card was made, by the clock of the machine."""
    said: Mapping[str, str | None]
    """The fields that people fill in; None: not filled in."""
    said_at: datetime | None
    """Since when they are kept with the version; None: ``card.yaml`` says so now."""
    said_otherwise: tuple[str, ...]
    """Fields that are kept, and that ``card.yaml`` has otherwise by now."""
    aliases: tuple[str, ...]
    task: str | None
    family: str | None
    parameters: Mapping[str, Any]
    trials: int | None
    registered_at: datetime
    by: str | None
    """Who had it made."""
    why: str | None
    run_id: str | None
    turn_id: str | None
    digest: str | None
    """SHA-256 of the estimator's file."""
    data_version: str | None
    as_of: datetime | None
    parts: Mapping[str, str]
    """Training, validation and hold-out: their windows or rows."""
    rows: int | None
    """Labelled rows that were known."""
    refitted_on: int | None
    feature_rows: int
    """Fitted rows that the features' statistics are of."""
    features: tuple[CardFeature, ...]
    figures: tuple[CardFigure, ...]
    held_out_rows: int
    """Held-out rows that the intervals are of."""
    gate: CardGate | None
    calibration: tuple[CardCalibration, ...]
    groups: tuple[CardGroup, ...]
    live: tuple[LiveFigure, ...]
    monitor_runs: Mapping[str, int]
    """Verdict → runs of monitors that judged it, among the last ones."""
    drifted: Mapping[str, int]
    """Feature → in how many of these runs it had drifted."""
    alerts: Mapping[str, int]
    """Kind → alerts about it."""
    use: tuple[CardUse, ...]
    served: tuple[CardPeriod, ...]
    lineage: Mapping[str, str]
    unknown: tuple[str, ...]
    """What could not be read or measured, and why."""
