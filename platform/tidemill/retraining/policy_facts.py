"""Defines what a policy sees, and what it decides, as frozen values. Imports no engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill.retraining.policies import Policy

__all__ = [
    "DRIFT",
    "AlertFact",
    "Cause",
    "EstimateFact",
    "Hold",
    "Retrain",
    "Situation",
    "TurnFact",
    "alert_cause",
]

DRIFT = frozenset({"data_drift", "feature_drift", "prediction_drift", "multivariate_drift", "slice_drift"})
"""Kinds of alert that tell of a change, and not of harm."""


@dataclass(frozen=True)
class AlertFact:
    """An alert that is not resolved, as a policy sees it."""

    id: str
    monitor: str
    kind: str
    message: str
    raised_at: datetime
    last_seen_at: datetime
    about: tuple[str, ...] = ()
    """What is alarming, where that tells one cause from another: features, or the metric."""
    faults: tuple[str, ...] = ()
    """Features whose values are at fault (missing, constant, not comparable, or served with other values)."""
    severity: str = "warning"
    fired_at: datetime | None = None
    """When it began to fire, the last time; None: when it was raised."""


@dataclass(frozen=True)
class TurnFact:
    """An earlier turn, as a policy sees it."""

    status: str
    """As in its record; of a turn that began a rollout, how that ended, or ``rollout`` while it lasts."""
    as_of: datetime
    trigger: str = "manual"
    policy: str | None = None
    sources: str | None = None
    """Digest of the files and parameters that the turn read (`turn_inputs.Sources.all`)."""
    id: str = ""
    cpu_seconds: float = 0.0
    """CPU time that it took, where that is on record."""
    approval: str | None = None
    """Of a turn that waits for a second person: the request."""


@dataclass(frozen=True)
class EstimateFact:
    """The latest estimate of the serving version's quality without labels."""

    at: datetime
    decayed: bool
    said: str


@dataclass(frozen=True)
class Situation:
    """What policies see besides alerts and turns."""

    sources: Mapping[str, str | None] = field(default_factory=dict)
    """Policy → digest of what its turn would read now; None, or no entry: that cannot be told."""
    sources_tell_all: bool = False
    """Whether a turn reads nothing else; not so where a later moment alone gives it more rows."""
    new_labels: int | None = None
    """Labels that became known since the last turn that did not fail; None: not counted."""
    labels_learnt: int | None = None
    """Labels that were known when the champion was made; None: that is not on record."""
    champion_since: datetime | None = None
    """The moment up to which the champion's training knew data; None: unknown."""
    estimate: EstimateFact | None = None
    last_turn_at: datetime | None = None
    """The moment of the last turn that did not fail; None: there is none."""
    data_version: str | None = None
    """The version of the data now, if the last turn that did not fail had another; None: it had this one."""


@dataclass(frozen=True)
class Cause:
    """Why a policy asks for a turn."""

    kind: str
    """The kind of alert, ``new_labels``, ``age``, ``cron`` or ``data_version``."""
    message: str
    key: str
    """Identifies the cause: the same while the same thing is alarming."""
    alert: AlertFact | None = None


@dataclass(frozen=True)
class Retrain:
    """A turn is due."""

    policy: "Policy"
    cause: Cause

    @property
    def alert(self) -> AlertFact | None:
        """The alert that asks for the turn, if one does."""
        return self.cause.alert

    @property
    def reason(self) -> str:
        """Why the turn is made, as one sentence for its record."""
        return f"{self.policy.name}: {self.cause.message}"


@dataclass(frozen=True)
class Hold:
    """Something asks for a turn, but none is due: the reason why not."""

    policy: "Policy"
    cause: Cause
    code: str
    """The rule that holds it: one of `tidemill.retraining.policy_rules.RULES`."""
    reason: str

    @property
    def alert(self) -> AlertFact | None:
        """The alert that asks for the turn, if one does."""
        return self.cause.alert


def alert_cause(alert: AlertFact) -> Cause:
    """Return the cause that an alert is.

    >>> from datetime import UTC
    >>> day = datetime(2013, 5, 1, tzinfo=UTC)
    >>> alert_cause(AlertFact("a1", "delay", "feature_drift", "…", day, day, about=("wind", "fog"))).key
    'feature_drift/delay/fog,wind'
    """
    key = "/".join(filter(None, (alert.kind, alert.monitor, ",".join(sorted(alert.about)))))
    return Cause(alert.kind, alert.message, key, alert)
