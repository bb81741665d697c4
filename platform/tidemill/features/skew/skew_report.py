"""The report of a skew check: for each feature how many rows differ, since when, and why. Values only."""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

__all__ = ["Cause", "DayShare", "FeatureSkew", "SkewReport"]

_LEAST = 100
"""Rows of a feature that must be compared before it counts as free of skew, unless there are no more."""


@dataclass(frozen=True)
class DayShare:
    """One UTC day of event time."""

    day: date
    rows: int
    """Compared."""
    differing: int

    @property
    def share(self) -> float:
        """Share of the compared rows that differ."""
        return self.differing / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Cause:
    """The most likely cause of a feature's differing rows, and its evidence."""

    name: str
    """Such as ``late data`` or ``expired``: those of `tidemill.features.skew.diagnosis`, or ``unknown``."""
    rows: int
    view: str
    """The feature view where it comes from; not the feature's own, if that only computes from it."""
    evidence: str


@dataclass(frozen=True)
class FeatureSkew:
    """How the served values of one feature differ from the training values."""

    feature: str
    view: str
    rows: int
    """Compared."""
    differing: int
    share: float
    """Share of the compared rows that differ."""
    served_null: int
    """Differing rows that were served without a value, or with the declared default in its place."""
    expected_null: int
    """Differing rows that have no value in a training set."""
    mean_difference: float | None
    """Mean absolute difference of the differing rows that have both values."""
    since: datetime | None
    """First moment of the latest stretch of days that differ; none if nothing does."""
    until: datetime | None
    """Last moment of that stretch."""
    ongoing: bool
    """Whether that stretch reaches the last day that could be compared."""
    or_earlier: bool
    """Whether nothing before `since` could be compared: the stretch may have begun earlier."""
    causes: tuple[Cause, ...]
    """Most rows first."""
    examples: tuple[str, ...]
    """Ids of some predictions that differ."""
    not_comparable_yet: int
    """Predictions later than what the offline store has of the view."""
    unresolved: int
    """Predictions whose key is a pseudonym that no offline value has."""
    daily: tuple[DayShare, ...] = field(default=(), repr=False)
    brought: int = 0
    """Predictions whose request brought the value, or one that it is computed from."""


@dataclass(frozen=True)
class SkewReport:
    """The findings of a skew check."""

    model: str
    service: str
    start: datetime
    end: datetime
    threshold: float
    """Share of a feature's rows from which on it counts as skewed."""
    tolerance: float
    predictions: int
    """Looked at."""
    without_keys: int
    """Of these, those logged without keys: they cannot be compared."""
    reaches: dict[str, datetime | None]
    """Newest event time of each view in the offline store: later predictions cannot be judged yet."""
    features: tuple[FeatureSkew, ...]
    """Those that differ most first."""
    not_logged: tuple[str, ...] = ()
    """Personal features, which the log does not hold."""
    seconds: float = field(default=0.0, compare=False)

    @property
    def skewed(self) -> tuple[FeatureSkew, ...]:
        """The features past the threshold."""
        return tuple(each for each in self.features if each.differing and each.share >= self.threshold)

    @property
    def compared(self) -> int:
        """Predictions of which at least one feature could be compared: of the feature that has most."""
        return max((each.rows for each in self.features), default=0)

    @property
    def least(self) -> int:
        """Rows that must be compared before a feature is judged."""
        return min(_LEAST, self.predictions)

    @property
    def verdict(self) -> str:
        """``skew``, ``ok``, ``too few to compare``, or ``nothing to compare``."""
        if self.skewed:
            return "skew"
        if not self.compared:
            return "nothing to compare"
        return "ok" if self.compared >= self.least else "too few to compare"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; features that agree have only their counts."""
        return {
            "model": self.model,
            "service": self.service,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "threshold": self.threshold,
            "tolerance": self.tolerance,
            "predictions": self.predictions,
            "compared": self.compared,
            "without_keys": self.without_keys,
            "reaches": {view: _iso(moment) for view, moment in self.reaches.items()},
            "not_logged": list(self.not_logged),
            "verdict": self.verdict,
            "skewed": [each.feature for each in self.skewed],
            "features": [_plain(each) for each in self.features],
            "seconds": round(self.seconds, 3),
        }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _plain(skew: FeatureSkew) -> dict[str, Any]:
    counts = {
        "feature": skew.feature,
        "view": skew.view,
        "rows": skew.rows,
        "differing": skew.differing,
        "not_comparable_yet": skew.not_comparable_yet,
        "unresolved": skew.unresolved,
        "brought": skew.brought,
    }
    if not skew.differing:
        return counts
    return {
        **counts,
        "share": skew.share,
        "served_null": skew.served_null,
        "expected_null": skew.expected_null,
        "mean_difference": skew.mean_difference,
        "since": _iso(skew.since),
        "until": _iso(skew.until),
        "ongoing": skew.ongoing,
        "or_earlier": skew.or_earlier,
        "causes": [asdict(cause) for cause in skew.causes],
        "examples": list(skew.examples),
        "daily": [{**asdict(each), "day": each.day.isoformat()} for each in skew.daily],
    }
