"""Silences: alerts with certain labels about which nothing is sent for a while."""

from datetime import datetime

from tidemill.accounts import audit
from tidemill.alerting.known_kinds import KINDS, SEVERITIES, unknown_kind, unknown_severity
from tidemill.alerting.label_matchers import Matchers
from tidemill.clock import parse_duration, parse_moment, utc
from tidemill.errors import UsageError
from tidemill.ids import new_id
from tidemill.state import State
from tidemill.state.tables import Silence

__all__ = ["add_silence", "check_matchers", "end_of", "end_silence"]


def check_matchers(matchers: Matchers) -> Matchers:
    """Return matchers that some alert can have.

    Raises:
        UsageError: no alert has a kind or a severity like that.
    """
    if (wrong := unknown_kind(matchers.get("kind", ()))) is not None:
        raise UsageError(f"{wrong!r} is no kind of alert", hint=f"the kinds are: {', '.join(KINDS)}")
    if (wrong := unknown_severity(matchers.get("severity", ()))) is not None:
        raise UsageError(f"{wrong!r} is no severity", hint=f"the severities are: {', '.join(SEVERITIES)}")
    return matchers


def end_of(given: str, now: datetime) -> datetime:
    """Return when a silence ends.

    Args:
        given: a moment, or how long from now: ``2d``, ``6h``.
        now: event time.

    Raises:
        UsageError: it is neither.

    >>> from datetime import UTC
    >>> end_of("6h", datetime(2013, 4, 1, tzinfo=UTC)).isoformat()
    '2013-04-01T06:00:00+00:00'
    """
    hint = "write it like 8h, 2d or 2013-04-01T06:00"
    try:
        return now + parse_duration(given)
    except ValueError as error:
        if given[-1:] in "smhdw":
            raise UsageError(str(error), hint=hint) from error
    try:
        return parse_moment(given)
    except ValueError as error:
        raise UsageError(f"{given!r} is not a moment", hint=hint) from error


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
        details = {"matchers": silence.matchers, "until": utc(until).isoformat()}
        audit.append(session, audit.Act(author, "silence", "alert", silence.id, model, reason, details))
    return silence


def end_silence(state: State, silence_id: str, now: datetime, by: str) -> Silence:
    """End a silence at ``now``; ``by`` says who does.

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
        audit.append(session, audit.Act(by, "end-silence", "alert", silence.id, silence.model))
        return silence
