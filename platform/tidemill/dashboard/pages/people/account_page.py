"""One's own account: password, sessions, tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import FastAPI
from pydantic import BaseModel, BeforeValidator, Field

from tidemill.accounts.account_records import own_sessions, own_tokens
from tidemill.accounts.api_keys import create_key, revoke_key
from tidemill.accounts.identities import decide
from tidemill.accounts.login_sessions import SessionInfo, check_password, end_session_by_id
from tidemill.accounts.roles import ROLES, Permission, Role
from tidemill.accounts.user_facts import user_by_id
from tidemill.accounts.users import set_password
from tidemill.dashboard.page import Done, Password, add_act, add_page
from tidemill.dashboard.visit import Here, Visit
from tidemill.errors import NotAllowed, UsageError
from tidemill.settings import Secret
from tidemill.state.key_facts import KeyInfo

__all__ = ["Account", "add_to"]

Days = Literal["30", "90", "365", "never"]
"""After how many days a token expires."""


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) and given else given or []


Roles = Annotated[
    list[Annotated[str, Field(max_length=40)]], BeforeValidator(_as_list), Field(max_length=len(ROLES))
]
"""Some roles; one alone may be sent as a text."""
OWN: Permission = ("change", "account")


@dataclass(frozen=True)
class Account:
    """What a person sees of themselves."""

    name: str
    display_name: str
    has_password: bool
    roles: Mapping[str, Sequence[Role]]
    sessions: Sequence[SessionInfo]
    current: str
    """Id of the session that asks."""
    tokens: Sequence[KeyInfo]
    projects: Sequence[str]
    """In which they may have tokens."""
    known_roles: Sequence[Role] = ROLES


class PasswordForm(BaseModel):
    """A new password."""

    current: Password
    new: Password
    again: Password


class SessionForm(BaseModel):
    """A session."""

    id: Annotated[str, Field(max_length=100)]


class TokenForm(BaseModel):
    """A token that is asked for."""

    name: Annotated[str, Field(max_length=64)]
    role: Roles = ["viewer"]
    project: Annotated[str, Field(max_length=200)]
    days: Days = "90"


class OwnTokenForm(BaseModel):
    """One of one's own tokens."""

    id: Annotated[str, Field(max_length=64)]


def account(visit: Here) -> Account:
    """Return the account of who asks."""
    user = user_by_id(visit.records, _user_id(visit))
    if user is None:
        raise NotAllowed("this account is gone", hint="ask an admin")
    return Account(
        user.name,
        user.display_name,
        user.has_password,
        user.roles,
        own_sessions(visit.records, user.id, visit.now),
        visit.session,
        own_tokens(visit.records, user.id, visit.now),
        token_projects(visit),
    )


def token_projects(visit: Visit) -> list[str]:
    """Return the projects in which the visitor may have tokens."""
    names = sorted({one.name for one in visit.projects})
    return [name for name in names if decide(visit.identity, ("manage", "token"), name) == "allowed"]


def lifetime_of(days: Days) -> timedelta | None:
    """Return how long a token lives; None for as long as nobody revokes it."""
    return None if days == "never" else timedelta(days=int(days))


def change_password(visit: Here, form: PasswordForm) -> Done:
    """Change one's own password; every session ends, this one too."""
    user_id = _user_id(visit)
    if form.new != form.again:
        raise UsageError("the new password was not typed the same twice", hint="type it again")
    check_password(visit.state, user_id, form.current, now=visit.now)
    set_password(visit.state, visit.identity.name, form.new, actor=visit.who, now=visit.now)
    return Done("Your password is changed.", "/login?note=password")


def end_one(visit: Here, form: SessionForm) -> Done:
    """End one of one's own sessions."""
    ended = end_session_by_id(visit.state, form.id, _user_id(visit))
    return Done("The session has ended." if ended else "That session had ended already.", "/account")


def make_token(visit: Here, form: TokenForm) -> Done:
    """Make a token of one's own; it may no more than its owner, whatever its role."""
    if form.project not in token_projects(visit):
        raise NotAllowed(
            f"{visit.identity.name} may not have tokens in {form.project!r}",
            hint="an admin gives roles: the page People",
        )
    made = create_key(
        visit.state,
        name=form.name,
        scopes=(),
        roles={form.project: form.role or ["viewer"]},
        owner=_user_id(visit),
        actor=visit.who,
        now=visit.now,
        lifetime=lifetime_of(form.days),
    )
    return shown_once(form.name, made.secret, "/account")


def revoke_own(visit: Here, form: OwnTokenForm) -> Done:
    """Revoke a token of one's own."""
    found = revoke_key(visit.state, form.id, actor=visit.who, now=visit.now, owner=_user_id(visit))
    return Done(f"The token {found.name} is revoked.", "/account")


def shown_once(name: str, secret: Secret, location: str) -> Done:
    """Return the answer that shows a new secret."""
    return Done(f"The token {name} is made.", location, secret.get_secret_value())


def _user_id(visit: Visit) -> str:
    if visit.identity.user_id is None:
        raise NotAllowed("only a person who has logged in has an account", hint="log in at /login")
    return visit.identity.user_id


def add_to(app: FastAPI) -> None:
    """Add the page and its acts."""
    add_page(
        app, "/account", account, template="account.html", needs=("read", "account"), title="Your account"
    )
    acts = (
        ("/account/password", change_password, PasswordForm, "Change your password"),
        ("/account/sessions/end", end_one, SessionForm, "End a session"),
        ("/account/tokens", make_token, TokenForm, "Make a token"),
        ("/account/tokens/revoke", revoke_own, OwnTokenForm, "Revoke a token"),
    )
    for path, act, form, title in acts:
        add_act(app, path, act, form, needs=OWN, title=title)
