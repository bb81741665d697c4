"""One request's view of the installation: who asks, what they may see, and the moment."""

import secrets
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request

from tidemill.accounts.identities import Decision, Identity, decide
from tidemill.dashboard.installation import Installation, ShownProject
from tidemill.errors import ModelNotFound
from tidemill.files.sqlite_urls import sqlite_file
from tidemill.state import State
from tidemill.state.record_reader import Records

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission

__all__ = ["Here", "Visit"]

_OWN = secrets.token_hex(16)
"""Begins what stands for a visitor's own in what is made for many; nobody can write it into a record."""
_LEAST = 2
"""Parts of a path, at least, that says something of a machine: `/project` does not, and could be a page."""
_NAME, _CSRF, _NONCE = (f"{_OWN}-{what}" for what in ("name", "csrf", "nonce"))


@dataclass(frozen=True)
class Visit:
    """What a page or an act may use. Everything of a project goes through `project`, which hides others'."""

    installation: Installation
    identity: Identity
    now: datetime
    csrf: str = ""
    """The token that forms of this session send back."""
    nonce: str = ""
    """Of this answer's scripts."""
    session: str = ""
    """Public id of the visitor's session, if they have logged in."""

    @property
    def records(self) -> Records:
        """The records, to read."""
        return self.installation.records

    @property
    def state(self) -> State:
        """The records, to write."""
        return self.installation.state

    @property
    def who(self) -> str:
        """The name that is recorded for what is done in this request."""
        return self.identity.name or self.installation.home.settings.who

    @property
    def anybody(self) -> "Visit":
        """The visit as one of anybody with the same rights: `own` says what stands for the visitor's own."""
        identity = replace(self.identity, name=_NAME if self.identity.name else "")
        return replace(self, identity=identity, csrf=_CSRF if self.csrf else "", nonce=_NONCE, session="")

    @property
    def own(self) -> Mapping[str, str]:
        """What stands for it in what is made for `anybody` → this visitor's own."""
        return {_NAME: self.identity.name, _CSRF: self.csrf, _NONCE: self.nonce}

    @property
    def rights(self) -> Hashable:
        """What decides what this identity may see: who has the same may see the same."""
        return _rights(self.identity)

    @property
    def hidden(self) -> Sequence[Path]:
        """Folders of this machine that are not told: operators and admins of the installation see all."""
        if self.may("read", "audit"):
            return ()
        home = self.installation.home
        records = sqlite_file(home.state_url)
        known: Sequence[ShownProject] = self.__dict__.get("projects", ())  # not read for it: they may be away
        found = {home.root, *(one.root for one in known), *([] if records is None else [records.parent])}
        return [one for one in found if len(one.parts) > _LEAST]

    @cached_property
    def projects(self) -> Sequence[ShownProject]:
        """The projects that exist for this identity, by name."""
        return [one for one in self.installation.projects() if self.identity.sees(one.name)]

    def project(self, model: str) -> ShownProject:
        """Return the project of a model.

        Raises:
            ModelNotFound: there is none, or it is hidden from this identity.
        """
        found = next((one for one in self.projects if one.model == model), None)
        if found is None:
            raise ModelNotFound(f"there is no model {model!r} here", hint="the fleet lists those that are")
        return found

    def verdict(self, needs: "Permission", model: str | None) -> Decision:
        """Decide about an act on a model's project, or on the installation if no model is given.

        What is read of all projects may be read with a role in one: the page shows only that one. Roles are
        given likewise: the act asks once more, about the project that they are given in.

        Raises:
            ModelNotFound: there is no such model, or it is hidden from this identity.
        """
        if model is not None:
            return decide(self.identity, needs, self.project(model).name)
        if (
            (needs[0] == "read" or needs == ("grant", "people"))
            and needs[1] != "account"
            and "allowed" in {decide(self.identity, needs, one.name) for one in self.projects}
        ):
            return "allowed"
        return decide(self.identity, needs, None)

    def may(self, action: str, resource: str, model: str | None = None) -> bool:
        """Return whether this identity may do an action to a resource of a model's project.

        Templates ask this to leave out buttons that would be refused; the door decides again.
        """
        permission: Permission = (action, resource)
        project = None if model is None else self.project(model).name
        return decide(self.identity, permission, project) == "allowed"


def _rights(identity: Identity) -> Hashable:
    within = _rights(identity.within) if identity.within is not None else None
    return identity.kind, bool(identity.name), frozenset(identity.roles.items()), within


async def _visit(request: Request) -> Visit:
    # In the loop: to hand it to a thread would take longer than it does.
    return cast("Visit", request.state.visit)


Here = Annotated[Visit, Depends(_visit)]
"""Parameter of a page's or an act's function."""
