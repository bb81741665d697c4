"""Defines the roles, and the one table that says which role may do which action to which kind of resource."""

from typing import Final, Literal, get_args

__all__ = ["ACCOUNT", "EVERY_PROJECT", "ROLES", "TABLE", "Permission", "Role", "may"]

Role = Literal["viewer", "data-scientist", "ml-engineer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
EVERY_PROJECT: Final = "*"
"""In place of a project's name: a role in every project, those made later too."""

ACCOUNT: Final = "account"
"""A person's own name, password, sessions and tokens, which need no role."""

Permission = tuple[str, str]
"""An action and the kind of resource that it is done to, such as ``("promote", "version")``."""

_ALL = frozenset(ROLES)
_SCIENCE = frozenset[Role]({"data-scientist", "ml-engineer", "admin"})
_MODELS = frozenset[Role]({"ml-engineer", "admin"})
_CALL = frozenset[Role]({"ml-engineer", "operator", "admin"})
_PEOPLE = _ALL - {"viewer"}
_OPERATIONS = frozenset[Role]({"operator", "admin"})
_ADMIN = frozenset[Role]({"admin"})

TABLE: Final[dict[str, dict[str, frozenset[Role]]]] = {
    "project": {"read": _ALL, "change": _ADMIN},
    "model": {"read": _ALL},
    "version": {
        "read": _ALL,
        "register": _SCIENCE,
        "annotate": _SCIENCE,
        "delete": _MODELS,
        "promote": _MODELS,
        "approve": _MODELS,
        "roll-back": _CALL,
        "deploy": _MODELS,
    },
    "rollout": {"read": _ALL, "start": _MODELS, "stop": _CALL},
    "turn": {"read": _ALL, "start": _SCIENCE, "cancel": _SCIENCE | _OPERATIONS},
    "policy": {"read": _ALL},
    "run": {"read": _ALL, "write": _SCIENCE, "delete": _SCIENCE},
    "artifact": {"read": _ALL, "write": _SCIENCE, "delete": _SCIENCE},
    "data": {"read": _ALL, "erase": _ADMIN},
    "prediction": {"read": _PEOPLE},
    "monitor": {"read": _ALL, "run": _PEOPLE},
    "alert": {
        "read": _ALL,
        "comment": _PEOPLE,
        "acknowledge": _PEOPLE,
        "resolve": _PEOPLE,
        "silence": _CALL,
    },
    "serving": {"read": _ALL, "operate": _OPERATIONS},
    "job": {"read": _ALL, "operate": _CALL},
    ACCOUNT: {"read": _ALL, "change": _ALL},
    "token": {"read": _PEOPLE, "manage": _PEOPLE, "manage-all": _ADMIN},
    "people": {"read": _ADMIN, "grant": _ADMIN, "manage": _ADMIN},
    "audit": {"read": _OPERATIONS, "export": _OPERATIONS},
}
"""Resource → action → the roles that may. What is not in it, nobody may."""


def may(role: str, permission: Permission) -> bool:
    """Return whether a role has a permission.

    >>> may("ml-engineer", ("promote", "version")), may("viewer", ("promote", "version"))
    (True, False)
    >>> may("admin", ("launch", "rocket"))
    False
    """
    action, resource = permission
    return role in TABLE.get(resource, {}).get(action, frozenset())
