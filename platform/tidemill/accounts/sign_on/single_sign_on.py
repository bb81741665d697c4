"""Logs people in whom a provider of identities has vouched for; their groups give their roles."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.login_limits import count_begun, forget_begun, wait_words
from tidemill.accounts.login_sessions import NewSession, start_session
from tidemill.accounts.roles import EVERY_PROJECT, ROLES
from tidemill.accounts.sign_on.sign_on_providers import Provider
from tidemill.accounts.user_names import checked_name, folded
from tidemill.accounts.users import look_alike
from tidemill.errors import LoginRefused, TooManyLogins, UsageError
from tidemill.ids import new_id
from tidemill.state import State
from tidemill.state.tables import LinkedAccount, RoleGrant, SignOnAttempt, User

__all__ = [
    "Begun",
    "Vouched",
    "begin_sign_on",
    "finish_sign_on",
    "log_in_vouched",
    "record_refused",
    "roles_of_groups",
]

_PATIENCE: Final = timedelta(minutes=10)
_LIFETIME: Final = timedelta(hours=12)
"""Of a session: groups are read at its beginning alone, and somebody may be taken out of them since."""
_WORDS = 300
_MOST: Final = 10_000
"""Attempts that are kept; of more, the oldest are dropped, whoever begins them."""


@dataclass(frozen=True)
class Begun:
    """What a login that was begun takes to the provider."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Vouched:
    """Whom a provider has vouched for, from a token that was checked."""

    issuer: str
    subject: str
    name: str
    """What they are called, if nobody here is called so already."""
    groups: frozenset[str]


def begin_sign_on(
    state: State, provider: str, browser: str, target: str, now: datetime, *, address: str
) -> Begun:
    """Record that a browser begins a login; attempts that were not finished in time are dropped.

    Raises:
        TooManyLogins: this address has begun many and finished none; the hint says how long it must wait.
    """
    begun = Begun(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))
    with state.transaction() as session:
        wait = count_begun(session, address, now)
        if not wait:
            _make_room(session, now)
            session.add(
                SignOnAttempt(
                    state=_digest(begun.state),
                    browser=_digest(browser),
                    provider=provider,
                    nonce=begun.nonce,
                    verifier=begun.verifier,
                    target=target,
                    expires_at=now + _PATIENCE,
                )
            )
    if wait:
        raise TooManyLogins(
            "too many logins were begun from this address, and none was finished",
            hint=f"try again in {wait_words(wait)}",
        )
    return begun


def _make_room(session: Session, now: datetime) -> None:
    session.execute(delete(SignOnAttempt).where(SignOnAttempt.expires_at <= now))
    over = (session.scalar(select(func.count()).select_from(SignOnAttempt)) or 0) - _MOST + 1
    if over > 0:
        oldest = select(SignOnAttempt.state).order_by(SignOnAttempt.expires_at).limit(over)
        session.execute(delete(SignOnAttempt).where(SignOnAttempt.state.in_(oldest)))


def finish_sign_on(state: State, provider: str, browser: str, given: str, now: datetime) -> SignOnAttempt:
    """Return the attempt that an answer of a provider belongs to; it cannot be finished again.

    Raises:
        LoginRefused: there is none of this browser at this provider, or it took too long.
    """
    with state.transaction() as session:
        found = session.get(SignOnAttempt, _digest(given))
        if found is not None:
            session.delete(found)
    fits = found is not None and (found.browser, found.provider) == (_digest(browser), provider)
    if found is None or not fits or found.expires_at <= now:
        raise LoginRefused(
            "this login was not begun here, is used already, or took too long",
            hint="begin again at the login page of this browser",
        )
    return found


def log_in_vouched(
    state: State,
    provider_name: str,
    provider: Provider,
    vouched: Vouched,
    *,
    address: str,
    agent: str,
    now: datetime,
) -> NewSession:
    """Begin a session for whom a provider has vouched for; their roles by its groups are replaced.

    They are the user that this subject of this issuer was linked to; at their first login, a new one.

    Raises:
        LoginRefused: they are disabled, or have no role here.
    """
    by = f"oidc:{provider_name}"
    wanted = roles_of_groups(provider, vouched.groups)
    with state.transaction() as session:
        link = session.get(LinkedAccount, (vouched.issuer, vouched.subject))
        user = session.get_one(User, link.user_id) if link is not None else None
        if user is not None and user.disabled_at is not None:
            raise LoginRefused(f"{user.name} is kept out here", hint="an admin lets them in again")
        if not wanted and (user is None or not _other_roles(session, user.id, by)):
            raise LoginRefused(
                f"none of your groups at {provider.label} gives a role here",
                hint=f"your groups: {', '.join(sorted(vouched.groups)) or 'none'}; an admin adds one to the "
                "file of providers, or you to a group",
            )
        if user is None:
            user = _new_user(session, vouched, provider_name, by, now)
        _replace_roles(session, user, wanted, by, now)
        forget_begun(session, address)
        details = {"provider": provider_name, "roles": {name: sorted(some) for name, some in wanted.items()}}
        audit.append(session, audit.Act(user.name, "log-in", "account", user.name, details=details))
        return start_session(session, user, address=address, agent=agent, now=now, lifetime=_LIFETIME)


def record_refused(state: State, provider: str, error: LoginRefused, *, address: str) -> None:
    """Put a login on record that a provider refused, or whose answer was not accepted."""
    details = {"provider": provider, "address": address}
    act = audit.Act("somebody", "fail-log-in", "account", "somebody", None, str(error)[:_WORDS], details)
    with state.transaction() as session:
        audit.append(session, act)


def roles_of_groups(provider: Provider, groups: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Return project (or ``*``) → the roles that groups give there."""
    found: dict[str, set[str]] = {}
    for group in groups:
        for project, role in provider.groups.get(group, {}).items():
            found.setdefault(project, set()).add(role)
    return {project: frozenset(roles) for project, roles in found.items()}


def _other_roles(session: Session, user_id: str, by: str) -> bool:
    query = select(RoleGrant).where(RoleGrant.user_id == user_id, RoleGrant.granted_by != by)
    return session.scalar(query.limit(1)) is not None


def _new_user(session: Session, vouched: Vouched, provider: str, by: str, now: datetime) -> User:
    name = _free_name(session, vouched.name, provider)
    user = User(
        id=new_id("user"),
        name=name,
        name_folded=folded(name),
        display_name=name,
        created_at=now,
        created_by=by,
    )
    session.add(user)
    session.flush()
    session.add(LinkedAccount(issuer=vouched.issuer, subject=vouched.subject, user_id=user.id, linked_at=now))
    act = audit.Act(by, "create", "people", user.id, details={"name": name, "issuer": vouched.issuer})
    audit.append(session, act)
    return user


def _free_name(session: Session, wanted: str, provider: str) -> str:
    """Return the name that somebody new gets: never that of another user."""
    try:
        plain = checked_name(wanted.partition("@")[0][:40])
    except UsageError:
        plain = "user"
    names = (plain, f"{plain}@{provider}"[:60])
    numbered = (f"{names[1][:50]}-{number}" for number in range(2, 10_000))
    for name in (*names, *numbered):
        taken = session.scalar(select(User.id).where(User.name_folded == folded(name)))
        if taken is None and look_alike(session, name) is None:
            return name
    raise LoginRefused("there is no name left for this user", hint="an admin renames somebody")


def _replace_roles(
    session: Session, user: User, wanted: Mapping[str, frozenset[str]], by: str, now: datetime
) -> None:
    """Let a user's roles by a provider be exactly those wanted; what an admin gave by hand stays."""
    kept = set()
    for grant in session.scalars(select(RoleGrant).where(RoleGrant.user_id == user.id)).all():
        if grant.granted_by != by or grant.role in wanted.get(grant.project, ()) or _is_last(session, grant):
            kept.add((grant.project, grant.role))
            if grant.granted_by == by:
                grant.granted_at = now  # what groups give counts for a while since the last login
        else:
            session.delete(grant)
    for project, roles in wanted.items():
        for role in (one for one in ROLES if one in roles and (project, one) not in kept):
            session.add(RoleGrant(user_id=user.id, project=project, role=role, granted_at=now, granted_by=by))
    session.flush()


def _is_last(session: Session, grant: RoleGrant) -> bool:
    """Return whether nobody else is admin of every project: an installation never loses its last one."""
    if (grant.project, grant.role) != (EVERY_PROJECT, "admin"):
        return False
    others: Any = (
        select(User.id)
        .join(RoleGrant, RoleGrant.user_id == User.id)
        .where(RoleGrant.project == EVERY_PROJECT, RoleGrant.role == "admin")
        .where(User.disabled_at.is_(None), User.id != grant.user_id)
    )
    return session.scalar(others.limit(1)) is None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
