"""Who asks, and the decision whether they may: deny by default, the same for every face."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tidemill.accounts.roles import ACCOUNT, EVERY_PROJECT, Permission, Role, may

__all__ = ["NOBODY", "OPEN", "Decision", "Identity", "decide"]

Decision = Literal["allowed", "forbidden", "hidden"]
"""``hidden``: the project must look as if it did not exist."""


@dataclass(frozen=True)
class Identity:
    """A person, a token or a process that asks for something."""

    kind: Literal["person", "token", "open", "nobody"]
    """``open``: anybody on this machine, where nobody has to log in; ``nobody``: has not logged in."""
    name: str
    """For the records: the user's name, or ``token:<name>``."""
    roles: Mapping[str, frozenset[Role]] = field(default_factory=dict)
    """Project (or `EVERY_PROJECT`) → the roles there."""
    user_id: str | None = None
    """Of the person, or of the person that the token belongs to."""
    within: "Identity | None" = None
    """May no more than this one: the owner of a token."""

    def roles_in(self, project: str) -> frozenset[Role]:
        """Return the roles in a project.

        >>> Identity("person", "ada", {"*": frozenset({"viewer"})}).roles_in("flights")
        frozenset({'viewer'})
        """
        everywhere = self.roles.get(EVERY_PROJECT, frozenset())
        return everywhere | self.roles.get(project, frozenset())

    def sees(self, project: str) -> bool:
        """Return whether the project exists for this identity."""
        return bool(self.roles_in(project)) and (self.within is None or self.within.sees(project))


OPEN = Identity("open", "", {EVERY_PROJECT: frozenset[Role]({"admin"})})
"""Anybody on this machine, where it listens on loopback alone and is not closed by a setting."""
NOBODY = Identity("nobody", "")
"""Who has not logged in yet, and sees nothing but the page where one does."""


def decide(identity: Identity, permission: Permission, project: str | None) -> Decision:
    """Decide whether an identity may do something.

    Args:
        identity: who asks.
        permission: what is to be done to what kind of resource.
        project: whose resource it is; None for one of the installation, which takes a role in every project.

    >>> ada = Identity("person", "ada", {"flights": frozenset({"viewer"})})
    >>> decide(ada, ("read", "model"), "flights"), decide(ada, ("promote", "version"), "flights")
    ('allowed', 'forbidden')
    >>> decide(ada, ("read", "model"), "parcels")
    'hidden'
    >>> decide(Identity("person", "new"), ("change", "account"), None)
    'allowed'
    >>> robot = Identity("token", "token:ci", {"*": frozenset({"admin"})}, within=ada)
    >>> decide(robot, ("read", "model"), "flights"), decide(robot, ("promote", "version"), "flights")
    ('allowed', 'forbidden')
    """
    if permission[1] == ACCOUNT:  # everybody's own, whatever their roles are
        return "allowed" if identity.kind == "person" and may("viewer", permission) else "forbidden"
    if identity.within is not None:
        outer = decide(identity.within, permission, project)
        if outer != "allowed":
            return outer
    if project is None:
        roles = identity.roles.get(EVERY_PROJECT, frozenset[Role]())
    else:
        roles = identity.roles_in(project)
        if not roles:
            return "hidden"
    return "allowed" if any(may(role, permission) for role in roles) else "forbidden"
