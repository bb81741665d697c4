"""What is told of users, read from the records; nothing secret."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tidemill.accounts.identities import Identity
from tidemill.accounts.roles import ROLES, Role
from tidemill.state.record_reader import Records

__all__ = [
    "UserInfo",
    "all_users",
    "among",
    "has_lapsed",
    "identity_of",
    "user_by_id",
    "user_of",
    "users_of",
]


_GROUPS_COUNT: Final = timedelta(days=30)
"""So long after the last login by a provider, for tokens, what its groups gave counts."""


@dataclass(frozen=True)
class UserInfo:
    """The facts of a user that are not secret."""

    id: str
    name: str
    display_name: str
    status: Literal["active", "disabled"]
    has_password: bool
    created_at: datetime
    created_by: str
    roles: Mapping[str, Sequence[Role]]
    """Project (or ``*``) → the roles there, the least first."""


def user_of(row: Any, grants: Iterable[tuple[str, str]]) -> UserInfo:
    """Return the facts of a user's record.

    Args:
        row: the record.
        grants: project and role of each grant.
    """
    return UserInfo(
        row.id,
        row.name,
        row.display_name,
        "disabled" if row.disabled_at else "active",
        row.password is not None,
        row.created_at,
        row.created_by,
        _by_project(grants),
    )


def _by_project(grants: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[Role]]:
    """Return the roles of each project, the least first.

    >>> _by_project([("parcels", "operator"), ("parcels", "viewer")])
    {'parcels': ['viewer', 'operator']}
    """
    found: dict[str, set[str]] = {}
    for project, role in grants:
        found.setdefault(project, set()).add(role)
    return {project: [role for role in ROLES if role in found[project]] for project in sorted(found)}


def identity_of(user: UserInfo) -> Identity:
    """Return who a user is to the decision."""
    return Identity(
        "person", user.name, {project: frozenset(roles) for project, roles in user.roles.items()}, user.id
    )


def has_lapsed(grant: Any, now: datetime) -> bool:
    """Return whether a role came by a provider's groups, and its user has not logged in there for long.

    Who is taken out of a group, or leaves, does not log in any more, and their tokens must end some time.
    """
    return bool(grant.granted_by.startswith("oidc:")) and now - grant.granted_at > _GROUPS_COUNT


def user_by_id(records: Records, identity: str, lapsing: datetime | None = None) -> UserInfo | None:
    """Return a user with their roles, without those that have lapsed by a moment; None if there is none."""
    rows = records.select("users", "id = ?", identity, limit=1)
    return next(iter(users_of(records, rows, lapsing=lapsing)), None)


def all_users(records: Records) -> Sequence[UserInfo]:
    """Return all users, by name."""
    return users_of(records, records.select("users", "1 = 1", order="name_folded"))


def users_of(
    records: Records,
    rows: Sequence[Any],
    projects: Sequence[str] | None = None,
    lapsing: datetime | None = None,
) -> Sequence[UserInfo]:
    """Return the users of some records of ``users``.

    Args:
        records: the records.
        rows: those of ``users``.
        projects: whose roles alone are shown; None for all.
        lapsing: a moment: roles that have lapsed by then are left out; None: they are not.
    """
    grants: dict[str, list[tuple[str, str]]] = {}
    ids = [row.id for row in rows]
    for grant in records.select("role_grants", among("user_id", ids), *ids, order="user_id, project, role"):
        lapsed = lapsing is not None and has_lapsed(grant, lapsing)
        if not lapsed and (projects is None or grant.project in projects):
            grants.setdefault(grant.user_id, []).append((grant.project, grant.role))
    return [user_of(row, grants.get(row.id, ())) for row in rows]


def among(column: str, values: Collection[str]) -> str:
    """Return an SQL condition that a column has one of some values.

    >>> among("id", ["a", "b"]), among("id", [])
    ('id IN (?, ?)', '1 = 0')
    """
    return f"{column} IN ({', '.join('?' for _ in values)})" if values else "1 = 0"
