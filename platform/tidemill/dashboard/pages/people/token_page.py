"""Tokens: the API keys of programs, all of them; make, rotate and revoke."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from tidemill.accounts.account_records import names_of
from tidemill.accounts.api_keys import create_key, revoke_key, rotate_key
from tidemill.accounts.key_format import SCOPES
from tidemill.accounts.roles import EVERY_PROJECT, ROLES, Permission, Role
from tidemill.dashboard.page import Done, PageNumber, add_act, add_page
from tidemill.dashboard.pages.people.account_page import Days, Roles, lifetime_of, shown_once
from tidemill.dashboard.records.list_part import Part, read_part
from tidemill.dashboard.visit import Here
from tidemill.errors import UsageError
from tidemill.state.key_facts import KeyInfo, key_info

__all__ = ["Tokens", "add_to", "tokens"]

MANAGE: Permission = ("manage-all", "token")
_OVERLAP = timedelta(hours=24)


@dataclass(frozen=True)
class ShownToken:
    """A token, and whose it is."""

    key: KeyInfo
    owner: str | None
    """Name of the user that it belongs to."""


@dataclass(frozen=True)
class Tokens:
    """Tokens, the latest first."""

    tokens: Sequence[ShownToken]
    part: Part
    projects: Sequence[str]
    scopes: Sequence[str] = SCOPES
    known_roles: Sequence[Role] = ROLES


class NewTokenForm(BaseModel):
    """A token of nobody in particular, such as one of a program."""

    name: Annotated[str, Field(max_length=64)]
    scope: Roles = []
    role: Roles = []
    project: Annotated[str, Field(max_length=200)] = EVERY_PROJECT
    days: Days = "90"


class KeyForm(BaseModel):
    """A token."""

    id: Annotated[str, Field(max_length=64)]


def tokens(visit: Here, number: PageNumber = 1) -> Tokens:
    """Return all tokens, revoked ones too."""
    rows, part = read_part(
        visit.records, "api_keys", "1 = 1", order="created_at DESC, id DESC", number=number
    )
    names = names_of(visit.records, {row.owner for row in rows if row.owner})
    shown = [ShownToken(key_info(row, visit.now), names.get(row.owner)) for row in rows]
    return Tokens(shown, part, sorted({one.name for one in visit.projects}))


def make(visit: Here, form: NewTokenForm) -> Done:
    """Make a token; its secret is shown once."""
    known = {one.name for one in visit.projects} | {EVERY_PROJECT}
    if form.role and form.project not in known:
        raise UsageError(f"there is no project {form.project!r} here", hint="take one of the list")
    made = create_key(
        visit.state,
        name=form.name,
        scopes=form.scope,
        roles={form.project: form.role} if form.role else None,
        actor=visit.who,
        now=visit.now,
        lifetime=lifetime_of(form.days),
    )
    return shown_once(form.name, made.secret, "/tokens")


def rotate(visit: Here, form: KeyForm) -> Done:
    """Give a token a new secret; the old one is valid for a day more."""
    made = rotate_key(visit.state, form.id, actor=visit.who, overlap=_OVERLAP, now=visit.now)
    done = shown_once(made.info.name, made.secret, "/tokens")
    return replace(done, message=f"The token {made.info.name} has a new secret.")


def revoke(visit: Here, form: KeyForm) -> Done:
    """Revoke a token."""
    found = revoke_key(visit.state, form.id, actor=visit.who, now=visit.now)
    return Done(f"The token {found.name} is revoked.", "/tokens")


def add_to(app: FastAPI) -> None:
    """Add the page and its acts."""
    add_page(app, "/tokens", tokens, template="tokens.html", needs=MANAGE, title="Tokens")
    add_act(app, "/tokens", make, NewTokenForm, needs=MANAGE, title="Make a token")
    add_act(app, "/tokens/rotate", rotate, KeyForm, needs=MANAGE, title="Rotate a token")
    add_act(app, "/tokens/revoke", revoke, KeyForm, needs=MANAGE, title="Revoke a token")
