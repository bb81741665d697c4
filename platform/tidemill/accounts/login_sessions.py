"""Logs people in and out.

A session is kept on the server; its cookie is 256 random bits, of which only the digest is kept.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.login_limits import forget_failures, record_failure, wait_before, wait_words
from tidemill.accounts.passwords import hash_password, is_outdated, verify_password
from tidemill.accounts.user_names import folded
from tidemill.errors import LoginRefused, TooManyLogins
from tidemill.ids import new_id
from tidemill.settings import Secret
from tidemill.state import State
from tidemill.state.tables import LoginSession, User

__all__ = [
    "IDLE",
    "LIFETIME",
    "NewSession",
    "SessionInfo",
    "browser_of",
    "check_password",
    "digest_of",
    "end_session",
    "end_session_by_id",
    "keep_alive",
    "log_in",
    "session_info",
    "start_session",
]

IDLE: Final = timedelta(hours=12)
"""A session ends when it was not used for this long."""
LIFETIME: Final = timedelta(days=7)
"""A session ends after this, however much it is used."""
GRAIN: Final = timedelta(minutes=5)
"""How exactly the last use is recorded."""
_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)
_MOST_SESSIONS = 20
_INSIDE = "inside"  # in place of an address


@dataclass(frozen=True)
class NewSession:
    """A new session: the only value that holds what its cookie carries."""

    secret: Secret
    csrf: str
    user_id: str


@dataclass(frozen=True)
class SessionInfo:
    """A session as it is listed."""

    id: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    address: str
    agent: str
    browser: str
    """In short, for people."""


def browser_of(agent: str) -> str:
    """Return a browser and its system in short, as it says of itself.

    >>> browser_of("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (like Gecko) Chrome/156")
    'Chrome on Linux'
    >>> browser_of("curl/8.5.0"), browser_of("")
    ('curl/8.5.0', 'unknown')
    """
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent[:40] or "unknown"
    return f"{browser} on {system}" if system else browser


def session_info(row: Any) -> SessionInfo:
    """Return the facts of a session's record."""
    moments = (row.created_at, row.seen_at, row.expires_at)
    return SessionInfo(row.id, *moments, row.address, row.agent, browser_of(row.agent))


def log_in(state: State, *, name: str, password: str, address: str, agent: str, now: datetime) -> NewSession:
    """Begin a session for who knows the password.

    Args:
        state: the records.
        name: of the user.
        password: as it was typed.
        address: where the request comes from.
        agent: the browser, as it calls itself.
        now: wall-clock time.

    Raises:
        LoginRefused: name or password is wrong.
        TooManyLogins: the next attempt must wait: the hint says how long.
    """
    with state.transaction() as session:
        wait = wait_before(session, name, address, now)
        row = session.scalar(select(User).where(User.name_folded == folded(name)))
        # Counted before the password is looked at: attempts at the same time are counted all the same.
        if not wait:
            record_failure(session, name, address, now)
    if wait:
        raise TooManyLogins("there were too many failed logins", hint=f"try again in {wait_words(wait)}")
    # The digest takes long: no transaction waits for it.
    right = verify_password(row.password if row is not None else None, password)
    if row is None or not right or row.disabled_at is not None:
        _record_refusal(state, row, address)
        raise LoginRefused(
            "the name or the password is wrong",
            hint="type them again, or ask an admin for a new password",
        )
    better = hash_password(password) if is_outdated(row.password or "") else None
    with state.transaction() as session:
        user = session.get(User, row.id)
        if user is None or user.disabled_at is not None or user.password != row.password:
            raise LoginRefused("the password has just been changed", hint="log in with the new one")
        if better is not None:
            user.password = better
        forget_failures(session, name, address, now)
        audit.append(session, _act(user.name, "log-in", address))
        return start_session(session, user, address=address, agent=agent, now=now)


def check_password(state: State, user_id: str, password: str, *, now: datetime) -> None:
    """Check the password of who is logged in already; failures are counted, as those of logins are.

    Raises:
        LoginRefused: it is wrong.
        TooManyLogins: the next attempt must wait: the hint says how long.
    """
    with state.transaction() as session:
        user = session.get(User, user_id)
        name = user.name if user is not None else ""
        wait = wait_before(session, name, _INSIDE, now)
        if not wait:
            record_failure(session, name, _INSIDE, now)
    if wait:
        raise TooManyLogins("the password was wrong too often", hint=f"try again in {wait_words(wait)}")
    if not verify_password(user.password if user is not None else None, password):
        raise LoginRefused("the present password is wrong", hint="type it again")
    with state.transaction() as session:
        forget_failures(session, name, _INSIDE, now)


def start_session(
    session: Session, user: User, *, address: str, agent: str, now: datetime, lifetime: timedelta = LIFETIME
) -> NewSession:
    """Begin a session for a user who was found to be themselves. Ended ones are removed on the way."""
    dead = (LoginSession.expires_at <= now) | (LoginSession.seen_at <= now - IDLE)
    session.execute(delete(LoginSession).where(dead))
    kept = select(LoginSession).where(LoginSession.user_id == user.id)
    for old in session.scalars(
        kept.order_by(LoginSession.created_at.desc()).offset(_MOST_SESSIONS - 1)
    ).all():
        session.delete(old)
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session.add(
        LoginSession(
            digest=digest_of(secret),
            id=new_id("login"),
            user_id=user.id,
            csrf=csrf,
            created_at=now,
            seen_at=now,
            expires_at=now + lifetime,
            address=address[:64],
            agent="".join(each for each in agent if each.isprintable())[:200],
        )
    )
    return NewSession(Secret(secret), csrf, user.id)


def digest_of(secret: str) -> str:
    """Return what is kept of a cookie's value."""
    return hashlib.sha256(secret.encode()).hexdigest()


def keep_alive(state: State, digest: str, now: datetime) -> None:
    """Record that a session is in use."""
    with state.transaction() as session:
        row = session.get(LoginSession, digest)
        if row is not None and row.seen_at < now:
            row.seen_at = now


def end_session(state: State, secret: str) -> None:
    """End the session of a cookie, if it is one: its user logs out."""
    with state.transaction() as session:
        row = session.get(LoginSession, digest_of(secret))
        if row is not None:
            user = session.get_one(User, row.user_id)
            session.delete(row)
            audit.append(session, _act(user.name, "log-out", row.address))


def end_session_by_id(state: State, identity: str, user_id: str) -> bool:
    """End a session of a user, by them; return whether there was one."""
    with state.transaction() as session:
        found = (LoginSession.id == identity) & (LoginSession.user_id == user_id)
        row = session.scalar(select(LoginSession).where(found))
        if row is None:
            return False
        user = session.get_one(User, user_id)
        session.delete(row)
        audit.append(session, _act(user.name, "end-session", row.address))
        return True


def _record_refusal(state: State, user: User | None, address: str) -> None:
    """Put a failed login on record; an unknown name is left out, as it may be a password."""
    with state.transaction() as session:
        who = user.name if user is not None else "somebody"
        audit.append(session, _act(who, "fail-log-in", address))


def _act(who: str, action: str, address: str) -> audit.Act:
    return audit.Act(who, action, "account", who, details={"address": address})
