"""Slows down who guesses passwords, over all processes, without letting strangers lock a name out.

Failures are counted for each name from each address, for each address, and for each name. Past a few of
them, each one more doubles the wait before the next attempt is looked at, up to a limit. What is counted for
a name alone does not keep an address out from which that user has logged in before.

Logins that an address begins at a provider, and does not finish, are counted likewise.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.orm import Session

from tidemill.accounts.user_names import folded
from tidemill.state.tables import FailedLogins

__all__ = ["count_begun", "forget_begun", "forget_failures", "record_failure", "wait_before", "wait_words"]


@dataclass(frozen=True)
class _Limit:
    """How many failures are free, and how long the longest wait is."""

    free: int
    longest: timedelta


_PAIR: Final = _Limit(4, timedelta(minutes=15))
_ADDRESS: Final = _Limit(20, timedelta(minutes=15))
_NAME: Final = _Limit(30, timedelta(minutes=1))
_BEGUN: Final = _Limit(60, timedelta(minutes=1))
"""Many people may come from one address, such as that of an office."""
_FORGET: Final = timedelta(hours=24)
_KNOWN: Final = timedelta(days=90)


def wait_before(session: Session, name: str, address: str, now: datetime) -> timedelta:
    """Return how long this name must wait at this address until a login is looked at; zero for not at all."""
    subjects = _subjects(name, address)
    if _is_known(session, name, address, now):
        subjects = subjects[:2]
    ends = [
        row.blocked_until
        for subject, _ in subjects
        if (row := session.get(FailedLogins, subject)) is not None and row.blocked_until is not None
    ]
    return max((end - now for end in ends if end > now), default=timedelta(0))


def record_failure(session: Session, name: str, address: str, now: datetime) -> None:
    """Count a failed login."""
    session.execute(delete(FailedLogins).where(FailedLogins.last_at < now - _KNOWN))
    for subject, limit in _subjects(name, address):
        _count(session, subject, limit, now)


def forget_failures(session: Session, name: str, address: str, now: datetime) -> None:
    """Take a login that went well: its name is known at its address from now on, and may err again.

    `record_failure` was called for it before the password was looked at, which is undone.
    """
    pair, *others = _subjects(name, address)
    for subject, _ in others:
        row = session.get(FailedLogins, subject)
        if row is not None:
            row.failures, row.blocked_until = max(row.failures - 1, 0), None
    row = session.get(FailedLogins, pair[0])
    if row is not None:
        session.delete(row)
    known = _digest("known", folded(name), address)
    session.merge(FailedLogins(subject=known, failures=0, last_at=now, blocked_until=None))


def count_begun(session: Session, address: str, now: datetime) -> timedelta:
    """Count a login that is begun at a provider; return how long it must wait first, zero for not at all."""
    row = session.get(FailedLogins, _begun(address))
    if row is not None and row.blocked_until is not None and row.blocked_until > now:
        return row.blocked_until - now
    _count(session, _begun(address), _BEGUN, now)
    return timedelta(0)


def forget_begun(session: Session, address: str) -> None:
    """Take a login at a provider that was finished: this address begins anew."""
    row = session.get(FailedLogins, _begun(address))
    if row is not None:
        session.delete(row)


def wait_words(wait: timedelta) -> str:
    """Return how long somebody must wait, in words.

    >>> wait_words(timedelta(seconds=0.2)), wait_words(timedelta(minutes=15))
    ('1 s', '15 minutes')
    """
    seconds = max(round(wait.total_seconds()), 1)
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} minutes"


def _count(session: Session, subject: str, limit: _Limit, now: datetime) -> None:
    row = session.get(FailedLogins, subject)
    if row is None:
        row = FailedLogins(subject=subject, failures=0, last_at=now)
        session.add(row)
    row.failures = 1 if now - row.last_at > _FORGET else row.failures + 1
    row.last_at = now
    row.blocked_until = now + wait if (wait := _wait(limit, row.failures)) else None


def _begun(address: str) -> str:
    return _digest("sign-on", address)


def _is_known(session: Session, name: str, address: str, now: datetime) -> bool:
    row = session.get(FailedLogins, _digest("known", folded(name), address))
    return row is not None and now - row.last_at <= _KNOWN


def _subjects(name: str, address: str) -> Sequence[tuple[str, _Limit]]:
    """Return what is counted; digests, as people type passwords where names are asked for."""
    return (
        (_digest("pair", folded(name), address), _PAIR),
        (_digest("address", address), _ADDRESS),
        (_digest("name", folded(name)), _NAME),
    )


def _digest(*parts: str) -> str:
    return parts[0] + ":" + hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _wait(limit: _Limit, failures: int) -> timedelta:
    """Return how long the next attempt waits.

    >>> [_wait(_PAIR, failures).total_seconds() for failures in (4, 5, 6, 7, 50)]
    [0.0, 1.0, 2.0, 4.0, 900.0]
    """
    over = failures - limit.free
    return min(timedelta(seconds=2.0 ** min(over - 1, 20)), limit.longest) if over > 0 else timedelta(0)
