"""Decides when an alert becomes a retraining: precedence, cool-down, one at a time. Imports no engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tidemill.errors import ConfigError
from tidemill.files.declaration_files import read_declaration
from tidemill.monitoring.monitor_config import Duration, Kind
from tidemill.project import ProjectFolder

__all__ = ["AlertFact", "Hold", "Policy", "Retrain", "TurnFact", "decide", "load_policies"]


class Policy(BaseModel):
    """One rule of ``monitoring/policies.yaml``.

    >>> Policy.model_validate({"name": "decay", "alerts": ["quality"], "cooldown": "28d"}).cooldown.days
    28
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    alerts: tuple[Kind, ...] = Field(min_length=1)
    """Kinds of alert that ask for a turn, the most telling first.

    Feature skew seldom belongs here: a person must correct what serves or what trains, as a new model would
    be served the same wrong values.
    """
    monitors: tuple[str, ...] | None = None
    """Names of the monitors whose alerts count; default: all."""
    cooldown: Duration = timedelta(days=7)
    """How long after the last turn that did not fail, whoever began it, the next one may begin."""
    retry_after: Duration = timedelta(days=1)
    """The same after a turn that failed."""
    max_age: Duration = timedelta(days=14)
    """An alert that no monitor has confirmed for this long does not count."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of params.yaml that its turns set, by dotted name."""


@dataclass(frozen=True)
class AlertFact:
    """An alert that is not resolved, as a policy sees it."""

    id: str
    monitor: str
    kind: str
    message: str
    raised_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class TurnFact:
    """An earlier turn, as a policy sees it."""

    status: str
    as_of: datetime


@dataclass(frozen=True)
class Retrain:
    """A turn is due."""

    policy: Policy
    alert: AlertFact

    @property
    def reason(self) -> str:
        """Why the turn is made, as one sentence for its record."""
        return f"{self.policy.name}: {self.alert.message}"


@dataclass(frozen=True)
class Hold:
    """An alert asks for a turn, but none is due yet: the reason why not."""

    policy: Policy
    alert: AlertFact
    reason: str


def decide(
    policies: Sequence[Policy], alerts: Sequence[AlertFact], turns: Sequence[TurnFact], now: datetime
) -> Retrain | Hold | None:
    """Decide whether a turn is due at ``now``.

    Args:
        policies: in the order of their precedence.
        alerts: the unresolved alerts about the version that serves.
        turns: all earlier turns for the model.
        now: event time.

    Returns:
        The first policy by which a turn is due; else why the first policy with an alert waits; None if no
        policy has an alert.

    >>> from datetime import UTC
    >>> day = datetime(2013, 5, 1, tzinfo=UTC)
    >>> policy = Policy(name="decay", alerts=("quality",), cooldown=timedelta(days=28))
    >>> alert = AlertFact("a1", "delay", "quality", "AUC fell", day, day)
    >>> decide([policy], [alert], [TurnFact("promoted", datetime(2013, 4, 1, tzinfo=UTC))], day).reason
    'decay: AUC fell'
    >>> decide([policy], [alert], [TurnFact("refused", datetime(2013, 4, 20, tzinfo=UTC))], day).reason
    'cooling down until 2013-05-18 00:00 UTC'
    """
    held: Hold | None = None
    for policy in policies:
        alert = _first_match(policy, [a for a in alerts if now - a.last_seen_at <= policy.max_age])
        if alert is None:
            continue
        wait = _wait_reason(policy, turns, now)
        if wait is None:
            return Retrain(policy, alert)
        held = held or Hold(policy, alert, wait)
    return held


def _first_match(policy: Policy, alerts: Sequence[AlertFact]) -> AlertFact | None:
    """Return the most telling alert: in the order of the policy's kinds, then the oldest."""
    matching = [
        alert
        for alert in alerts
        if alert.kind in policy.alerts and (policy.monitors is None or alert.monitor in policy.monitors)
    ]
    return min(matching, key=lambda a: (policy.alerts.index(a.kind), a.raised_at, a.id), default=None)


def _wait_reason(policy: Policy, turns: Sequence[TurnFact], now: datetime) -> str | None:
    if any(turn.status == "running" for turn in turns):
        return "a turn is under way already"
    free_at = max(
        (turn.as_of + (policy.retry_after if turn.status == "failed" else policy.cooldown) for turn in turns),
        default=now,
    )
    return f"cooling down until {free_at:%Y-%m-%d %H:%M} UTC" if now < free_at else None


class _PoliciesFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    policies: tuple[Policy, ...]


def load_policies(project: ProjectFolder) -> tuple[Policy, ...]:
    """Read ``monitoring/policies.yaml``; a project without that file has no policies.

    Raises:
        ConfigError: it is wrong; the message names file and field.
    """
    path = project.root / "monitoring" / "policies.yaml"
    file = read_declaration(path)
    if file is None:
        return ()
    policies = file.as_model(_PoliciesFile, "docs/project.md describes every field", item="policy").policies
    names = [policy.name for policy in policies]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{path}: policy {sorted(doubled)[0]!r} is declared twice", hint="rename one")
    return policies
