"""Says in one word how a model is, and why: what somebody who is woken reads first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidemill.plurals import counted

__all__ = ["RISKS", "Risk", "risk_of"]

RISKS: Final = ("critical", "at risk", "unwatched", "in hand", "not serving", "fine")
"""The words, the worst first."""
_BLIND = ("failed", "missed", "too_few")
_ORDER = ("critical", "warning", "info")


@dataclass(frozen=True)
class Risk:
    """How a model is."""

    word: str
    """One of `RISKS`."""
    why: str


def risk_of(version: str | None, runs: Sequence[Any], alerts: Sequence[Any]) -> Risk:
    """Return how a model is.

    Args:
        version: the champion; None if there is none.
        runs: the last run of each monitor.
        alerts: those that are not resolved.

    >>> risk_of("3", [], [])
    Risk(word='unwatched', why='no monitor has run')
    """
    firing = sorted((one for one in alerts if one.status == "firing"), key=_severity)
    if firing:
        worst = firing[0]
        word = "critical" if worst.severity == "critical" else "at risk"
        return Risk(word, f"{worst.kind.replace('_', ' ')}: {worst.message}")
    if version is None:
        return Risk("not serving", "no version has been promoted")
    if not runs:
        return Risk("unwatched", "no monitor has run")
    if blind := [run for run in runs if run.verdict in _BLIND]:
        run = blind[0]
        told = run.results.get("error") or f"{counted(run.rows, 'prediction')} in its window"
        return Risk("unwatched", f"monitor {run.monitor}, {run.verdict.replace('_', ' ')}: {told}")
    if alerts:
        one = alerts[0]
        who = f" by {one.acknowledged_by}" if one.acknowledged_by else ""
        return Risk("in hand", f"{one.kind.replace('_', ' ')} is {one.status}{who}")
    return Risk("fine", "every monitor's last run found nothing")


def _severity(alert: Any) -> int:
    return _ORDER.index(alert.severity) if alert.severity in _ORDER else len(_ORDER)
