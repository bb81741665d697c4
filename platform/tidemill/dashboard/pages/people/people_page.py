"""People: who may log in, what they may do in which project; add, give, take, disable."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from tidemill.accounts.identities import decide
from tidemill.accounts.roles import EVERY_PROJECT, ROLES, Permission, Role
from tidemill.accounts.user_facts import UserInfo, users_of
from tidemill.accounts.users import (
    add_user,
    disable_user,
    enable_user,
    grant_roles,
    revoke_roles,
    set_password,
)
from tidemill.dashboard.page import Done, PageNumber, Password, add_act, add_page
from tidemill.dashboard.pages.people.account_page import Roles
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here
from tidemill.errors import NotAllowed, UsageError

__all__ = ["People", "add_to", "people"]

MANAGE: Permission = ("manage", "people")
GRANT: Permission = ("grant", "people")
_Name = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class People:
    """Users, by name."""

    users: Sequence[UserInfo]
    part: Part
    projects: Sequence[str]
    """In which the visitor gives roles."""
    everywhere: bool
    """Whether they may give roles in every project, and look after users themselves."""
    known_roles: Sequence[Role] = ROLES


class AddForm(BaseModel):
    """A new user."""

    name: _Name
    display_name: _Name = ""
    password: Password = ""
    role: Roles = []
    project: _Name = ""


class RoleForm(BaseModel):
    """Roles of a user in a project, or in every one (``*``)."""

    name: _Name
    role: Annotated[Roles, Field(min_length=1)]
    project: _Name


class UserForm(BaseModel):
    """A user."""

    name: _Name


class NewPasswordForm(BaseModel):
    """A password that an admin sets."""

    name: _Name
    password: Password


def people(visit: Here, number: PageNumber = 1) -> People:
    """Return users; an admin of some projects alone sees who has roles there, and only those roles."""
    places = sorted({one.name for one in visit.projects})
    where, values = "1 = 1", list[str]()
    everywhere = decide(visit.identity, ("read", "people"), None) == "allowed"
    if not everywhere:
        places = [one for one in places if decide(visit.identity, ("read", "people"), one) == "allowed"]
        marks = ", ".join("?" for _ in places)
        where = f"id IN (SELECT user_id FROM role_grants WHERE project IN ({marks}))"  # noqa: S608 - marks
        values = places
    rows, part = read_part(visit.records, "users", where, *values, order="name_folded", number=number)
    users = users_of(visit.records, rows, None if everywhere else places)
    return People(users, part, places, everywhere)


def add(visit: Here, form: AddForm) -> Done:
    """Add a user, with a role if one is chosen."""
    roles = {_place(visit, form.project): form.role} if form.role else None
    made = add_user(
        visit.state,
        name=form.name,
        password=form.password or None,
        actor=visit.who,
        now=visit.now,
        display_name=form.display_name,
        roles=roles,
    )
    return Done(f"{made.name} is added.", "/people")


def grant(visit: Here, form: RoleForm) -> Done:
    """Give roles."""
    place = _place(visit, form.project)
    found = grant_roles(visit.state, form.name, form.role, project=place, actor=visit.who, now=visit.now)
    return Done(f"{found.name} has the role {' and '.join(form.role)} now.", "/people")


def take(visit: Here, form: RoleForm) -> Done:
    """Take roles."""
    _require_granting(visit, form.project)
    found = revoke_roles(visit.state, form.name, form.role, project=form.project, actor=visit.who)
    return Done(f"{found.name} has the role {' and '.join(form.role)} no more.", "/people")


def disable(visit: Here, form: UserForm) -> Done:
    """Keep a user out."""
    found = disable_user(visit.state, form.name, actor=visit.who, now=visit.now)
    return Done(f"{found.name} is kept out; every session of theirs has ended.", "/people")


def enable(visit: Here, form: UserForm) -> Done:
    """Let a user in again."""
    found = enable_user(visit.state, form.name, actor=visit.who)
    return Done(f"{found.name} may log in again.", "/people")


def new_password(visit: Here, form: NewPasswordForm) -> Done:
    """Set a user's password."""
    found = set_password(visit.state, form.name, form.password, actor=visit.who, now=visit.now)
    return Done(f"{found.name} has a new password; every session of theirs has ended.", "/people")


def _require_granting(visit: Here, project: str) -> None:
    """Refuse who is admin of other projects alone.

    Raises:
        NotAllowed: they are.
    """
    place = None if project == EVERY_PROJECT else project
    if decide(visit.identity, GRANT, place) != "allowed":
        where = "in every project" if place is None else f"in {project!r}"
        raise NotAllowed(
            f"{visit.identity.name} may not give or take roles {where}",
            hint="an admin of every project may; your own ones are in the form",
        )


def _place(visit: Here, project: str) -> str:
    _require_granting(visit, project)
    known = {one.name for one in visit.projects}
    if project != EVERY_PROJECT and project not in known:
        raise UsageError(
            f"there is no project {project!r} here", hint=f"there are: {', '.join(sorted(known))}"
        )
    return project


def add_to(app: FastAPI) -> None:
    """Add the page and its acts."""
    add_page(app, "/people", people, template="people.html", needs=("read", "people"), title="People")
    acts = (
        ("/people", add, AddForm, "Add a user"),
        ("/people/disable", disable, UserForm, "Disable a user"),
        ("/people/enable", enable, UserForm, "Enable a user"),
        ("/people/password", new_password, NewPasswordForm, "Set a user's password"),
    )
    for path, act, form, title in acts:
        add_act(app, path, act, form, needs=MANAGE, title=title)
    add_act(app, "/people/grant", grant, RoleForm, needs=GRANT, title="Give roles")
    add_act(app, "/people/revoke", take, RoleForm, needs=GRANT, title="Take roles")
