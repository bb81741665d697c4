"""Adds users, gives and takes their roles, disables them; an installation never loses its last admin."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.look_alikes import skeleton
from tidemill.accounts.passwords import hash_password, require_password
from tidemill.accounts.roles import EVERY_PROJECT, ROLES, Role
from tidemill.accounts.user_facts import UserInfo, has_lapsed, user_of
from tidemill.accounts.user_names import checked_name, folded
from tidemill.errors import UsageError
from tidemill.ids import new_id
from tidemill.state import State
from tidemill.state.tables import LoginSession, RoleGrant, User

__all__ = [
    "add_user",
    "disable_user",
    "enable_user",
    "find_user",
    "grant_role",
    "grant_roles",
    "has_admin",
    "look_alike",
    "revoke_role",
    "revoke_roles",
    "set_password",
    "user_info",
]


def add_user(
    state: State,
    *,
    name: str,
    password: str | None,
    actor: str,
    now: datetime,
    display_name: str = "",
    roles: Mapping[str, Sequence[str]] | None = None,
) -> UserInfo:
    """Add a user.

    Args:
        state: the records.
        name: which they log in by; compared without regard to case.
        password: None for a user who logs in by another way alone.
        actor: who adds them.
        now: wall-clock time.
        display_name: what people call them; default: the name.
        roles: project (or ``*``) → roles there.

    Raises:
        UsageError: the name is taken or not valid, the password is too easy, or there is no such role.
    """
    name = checked_name(name)
    if password is not None:
        require_password(password, name)
    given = [(project, _role(role)) for project, some in (roles or {}).items() for role in some]
    row = User(
        id=new_id("user"),
        name=name,
        name_folded=folded(name),
        display_name=" ".join(display_name.split())[:100] or name,
        password=None if password is None else hash_password(password),
        password_at=None if password is None else now,
        created_at=now,
        created_by=actor,
    )
    try:
        with state.transaction() as session:
            if (other := look_alike(session, name)) is not None:
                raise UsageError(
                    f"{name!r} looks like the user {other!r}, in other letters",
                    hint="take a name that nobody takes for theirs",
                )
            session.add(row)
            session.flush()
            for project, role in given:
                session.merge(_grant(row, project, role, actor, now))
            session.flush()
            said = [{"project": project, "role": role} for project, role in given]
            audit.append(session, _act(row, "add", actor, roles=said))
            return user_info(session, row)
    except IntegrityError as error:
        raise UsageError(
            f"there is a user {name!r} already", hint="names are compared without regard to case"
        ) from error


def look_alike(session: Session, name: str) -> str | None:
    """Return the user whose name a new one could be taken for; the same name in another case is none."""
    shape, own = skeleton(name), folded(name)
    names = session.scalars(select(User.name))
    return next((one for one in names if skeleton(one) == shape and folded(one) != own), None)


def grant_role(state: State, name: str, role: str, *, project: str, actor: str, now: datetime) -> UserInfo:
    """Give a user a role in a project, or in every project (``*``).

    Raises:
        UsageError: there is no such user or role.
    """
    return grant_roles(state, name, [role], project=project, actor=actor, now=now)


def grant_roles(
    state: State, name: str, roles: Sequence[str], *, project: str, actor: str, now: datetime
) -> UserInfo:
    """Give a user several roles in a project at once, or none of them; as of `grant_role`."""
    kinds = [_role(role) for role in dict.fromkeys(roles)]
    with state.transaction() as session:
        row = find_user(session, name)
        for kind in kinds:
            if session.get(RoleGrant, (row.id, project, kind)) is None:
                session.add(_grant(row, project, kind, actor, now))
                session.flush()
                audit.append(session, _act(row, "grant", actor, project=project, role=kind))
        return user_info(session, row)


def revoke_role(state: State, name: str, role: str, *, project: str, actor: str) -> UserInfo:
    """Take a role of a user in a project, or that in every project (``*``).

    Raises:
        UsageError: there is no such user, they do not have the role, or they are the last admin.
    """
    return revoke_roles(state, name, [role], project=project, actor=actor)


def revoke_roles(state: State, name: str, roles: Sequence[str], *, project: str, actor: str) -> UserInfo:
    """Take several roles of a user in a project at once, or none of them; as of `revoke_role`."""
    kinds = [_role(role) for role in dict.fromkeys(roles)]
    with state.transaction() as session:
        row = find_user(session, name)
        for kind in kinds:
            _revoke(session, row, kind, project, actor)
        return user_info(session, row)


def _revoke(session: Session, row: User, kind: Role, project: str, actor: str) -> None:
    grant = session.get(RoleGrant, (row.id, project, kind))
    if grant is None:
        raise UsageError(
            f"{row.name} does not have the role {kind} in {_place(project)}",
            hint="`tidemill users list` shows what everybody has",
        )
    session.delete(grant)
    session.flush()
    if kind == "admin" and project == EVERY_PROJECT:
        _require_admin(session, row)
    audit.append(session, _act(row, "revoke", actor, project=project, role=kind))


def disable_user(state: State, name: str, *, actor: str, now: datetime) -> UserInfo:
    """Keep a user out: their sessions end, and their tokens are refused.

    Raises:
        UsageError: there is no such user, or they are the last admin.
    """
    with state.transaction() as session:
        row = find_user(session, name)
        if row.disabled_at is None:
            row.disabled_at = now
            session.execute(delete(LoginSession).where(LoginSession.user_id == row.id))
            session.flush()
            if "admin" in user_info(session, row).roles.get(EVERY_PROJECT, ()):
                _require_admin(session, row)
            audit.append(session, _act(row, "disable", actor))
        return user_info(session, row)


def enable_user(state: State, name: str, *, actor: str) -> UserInfo:
    """Let a disabled user in again.

    Raises:
        UsageError: there is no such user.
    """
    with state.transaction() as session:
        row = find_user(session, name)
        row.disabled_at = None
        audit.append(session, _act(row, "enable", actor))
        return user_info(session, row)


def set_password(state: State, name: str, password: str, *, actor: str, now: datetime) -> UserInfo:
    """Set a user's password; all their sessions end.

    Raises:
        UsageError: there is no such user, or the password is too easy.
    """
    require_password(password, name)
    digest = hash_password(password)
    with state.transaction() as session:
        row = find_user(session, name)
        row.password, row.password_at = digest, now
        session.execute(delete(LoginSession).where(LoginSession.user_id == row.id))
        audit.append(session, _act(row, "set-password", actor))
        return user_info(session, row)


def find_user(session: Session, name: str) -> User:
    """Return a user by name, disabled ones too.

    Raises:
        UsageError: there is no such user.
    """
    row = session.scalar(select(User).where(User.name_folded == folded(name)))
    if row is None:
        raise UsageError(f"there is no user {name!r}", hint="`tidemill users list` shows all")
    return row


def has_admin(state: State) -> bool:
    """Return whether somebody who is not disabled is admin of every project."""
    with state.transaction() as session:
        return _has_admin(session)


def user_info(session: Session, row: User, lapsing: datetime | None = None) -> UserInfo:
    """Return the public facts of a user, without roles that have lapsed by a moment."""
    grants = session.scalars(select(RoleGrant).where(RoleGrant.user_id == row.id))
    kept = [grant for grant in grants if lapsing is None or not has_lapsed(grant, lapsing)]
    return user_of(row, [(grant.project, grant.role) for grant in kept])


def _act(row: User, action: str, actor: str, **details: Any) -> audit.Act:
    """Return what the audit log says of a user: nothing of their password."""
    return audit.Act(actor, action, "people", row.id, details={"name": row.name, **details})


def _grant(row: User, project: str, role: Role, actor: str, now: datetime) -> RoleGrant:
    return RoleGrant(user_id=row.id, project=project, role=role, granted_at=now, granted_by=actor)


def _role(role: str) -> Role:
    found = next((one for one in ROLES if one == role), None)
    if found is None:
        raise UsageError(f"there is no role {role!r}", hint=f"roles are: {', '.join(ROLES)}")
    return found


def _place(project: str) -> str:
    return "every project" if project == EVERY_PROJECT else project


def _has_admin(session: Session) -> bool:
    admins = (
        select(User.id)
        .join(RoleGrant, RoleGrant.user_id == User.id)
        .where(RoleGrant.project == EVERY_PROJECT, RoleGrant.role == "admin", User.disabled_at.is_(None))
    )
    return session.scalar(admins.limit(1)) is not None


def _require_admin(session: Session, row: User) -> None:
    if not _has_admin(session):
        raise UsageError(
            f"{row.name} is the last admin of every project: nobody could let people in any more",
            hint="make somebody else admin first: tidemill users grant NAME admin --everywhere",
        )
