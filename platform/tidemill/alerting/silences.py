"""Silences: alerts with certain labels about which nothing is sent for a while."""

from datetime import datetime

from tidemill.alerting.label_matchers import Matchers
from tidemill.errors import UsageError
from tidemill.ids import new_id
from tidemill.state import State
from tidemill.state.tables import Silence

__all__ = ["add_silence", "end_silence"]


def add_silence(
    state: State, model: str, matchers: Matchers, author: str, reason: str, now: datetime, until: datetime
) -> Silence:
    """Record a silence from ``now`` to ``until``.

    Raises:
        UsageError: there are no matchers, no reason, or the end is not later than ``now``.
    """
    if not matchers:
        raise UsageError(
            "a silence needs labels", hint="as in kind=data_drift; 'model=*' silences everything"
        )
    if not reason.strip():
        raise UsageError("a silence needs a reason", hint="--reason says why, to those who wonder")
    if until <= now:
        raise UsageError(
            f"the silence would end at {until:%Y-%m-%d %H:%M} UTC, which is over", hint="give a later end"
        )
    silence = Silence(
        id=new_id("silence"),
        model=model,
        matchers=dict(matchers),
        author=author,
        reason=reason,
        starts_at=now,
        ends_at=until,
    )
    with state.transaction() as session:
        session.add(silence)
    return silence


def end_silence(state: State, silence_id: str, now: datetime) -> Silence:
    """End a silence at ``now``.

    Raises:
        UsageError: there is none of that id, or it has ended.
    """
    with state.transaction() as session:
        silence = session.get(Silence, silence_id)
        if silence is None or silence.ends_at <= now:
            raise UsageError(
                f"no silence {silence_id!r} is in force",
                hint="`tidemill alerts silences` shows those that are",
            )
        silence.ends_at = now
        return silence
