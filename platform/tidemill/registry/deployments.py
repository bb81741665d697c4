"""Versions beside the champion: putting one there, taking it away, and settling what a kill left half done.

What replicas do is decided by our records alone; the registry's aliases (``canary``, ``shadow``,
``challenger``, ``ab-<name>``) follow. A deployment is written down as ``pending`` before its alias is
touched and becomes ``live`` after; one that ends is ``stopping``, out of service, until its alias is gone.
An alias that somebody moves in the registry itself is taken for a wish, and becomes a deployment.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidemill.errors import RegistryError, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.history.alias_journal import lock, settle
from tidemill.registry.history.reconciliation import end, settle_deployments
from tidemill.registry.versions.alias_names import alias_of
from tidemill.registry.versions.aliases import read_aliases, set_alias
from tidemill.registry.versions.model_versions import CHAMPION, get_version
from tidemill.state import State
from tidemill.state.tables import Deployment, Rollout

__all__ = [
    "KINDS",
    "Wish",
    "carry_out",
    "deploy",
    "history",
    "live",
    "reconcile",
    "request",
    "settle_if_it_answers",
    "stop",
]

KINDS = ("canary", "ab", "shadow", "challenger")
RUNNING = ("running", "promoting")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Wish:
    """What somebody asks for."""

    kind: str
    """One of `KINDS`."""
    version: str
    """A number or an alias."""
    share: float
    """Of the routing keys, 0 to 1."""
    actor: str
    reason: str
    name: str = ""
    """Of the experiment; the other kinds have none."""


def live(state: State, model: str) -> list[Deployment]:
    """Return the versions that are beside the champion now, by name."""
    with state.transaction() as session:
        return list(
            session.scalars(
                select(Deployment)
                .where(Deployment.model == model, Deployment.status == "live")
                .order_by(Deployment.name)
            )
        )


def history(state: State, model: str, limit: int = 20) -> list[Deployment]:
    """Return the latest deployments, the latest first."""
    with state.transaction() as session:
        return list(
            session.scalars(
                select(Deployment)
                .where(Deployment.model == model)
                .order_by(Deployment.requested_at.desc(), Deployment.id)
                .limit(limit)
            )
        )


def deploy(project: Project, state: State, wish: Wish, now: datetime) -> Deployment:
    """Put a version beside the champion; replicas follow within a poll or two.

    One canary, one shadow and one challenger, and any number of experiments; a second of the same name takes
    the first one's place, and with the same version only changes its share.

    Args:
        project: whose model it is.
        state: where it goes on record.
        wish: what is asked for.
        now: event time.

    Raises:
        UsageError: the kind, the name or the share cannot be meant.
        ModelNotFound: there is no such version.
        RegistryError: it is the champion, there is none, a rollout is under way, or the registry refused.
    """
    with lock(project):
        settle(project, state)
        settle_deployments(project, state)
        row = request(project, state, wish, now)
        if row.status == "live":
            return row
        with state.transaction() as session:
            if wish.kind == "canary":
                _refuse_rollout(session, project.model)
            session.add(row)
        return carry_out(project, state, row)


def request(project: Project, state: State, wish: Wish, now: datetime) -> Deployment:
    """Return the record of a wish, ``pending`` and not written yet; or the live one that fulfils it already.

    Raises:
        UsageError: the kind, the name or the share cannot be meant.
        RegistryError: the version is the champion, or there is none.
    """
    name = _name(wish)
    if not 0 < wish.share <= 1:
        raise UsageError(f"a share of {wish.share:g} cannot be: it is above 0 % and at most 100 %")
    version, aliases = get_version(project, wish.version).version, read_aliases(project)
    champion = aliases.get(CHAMPION)
    if champion is None:
        raise RegistryError(
            f"{project.model} has no champion: nothing to be beside of",
            hint=f"`tidemill promote {project.model} {version}` makes one",
        )
    if version == champion:
        raise RegistryError(f"{project.model} {version} is the champion: it answers what nobody else does")
    before = next((row for row in live(state, project.model) if row.name == name), None)
    same = before is not None and before.version == version and before.kind == wish.kind
    if before is not None and same and (before.share, before.champion) == (wish.share, champion):
        return before
    return Deployment(
        id=new_id("dep"),
        model=project.model,
        kind=wish.kind,
        name=name,
        version=version,
        champion=champion,
        share=wish.share,
        salt=before.salt if before is not None and same else new_id("salt"),
        status="pending",
        from_version=aliases.get(alias_of(wish.kind, name)),
        actor=wish.actor,
        reason=wish.reason,
        at=now,
        requested_at=datetime.now(UTC),
    )


def carry_out(project: Project, state: State, row: Deployment) -> Deployment:
    """Make a deployment live that is on record as pending; the lock must be held.

    Raises:
        RegistryError: the registry refused; the record stays pending, and is settled next time.
    """
    set_alias(project, alias_of(row.kind, row.name), row.version)
    settle_deployments(project, state)
    with state.transaction() as session:
        return session.get_one(Deployment, row.id)


def stop(project: Project, state: State, names: Sequence[str], reason: str) -> list[Deployment]:
    """Take versions from beside the champion: at once, as soon as replicas look. A rollout ends with it.

    Args:
        project: whose model it is.
        state: where it goes on record.
        names: ``canary``, ``shadow``, ``challenger`` or of experiments; none for all.
        reason: goes on record.

    Raises:
        UsageError: there is nothing of that name.
        RegistryError: the registry refused; they are out of service all the same.
    """
    with lock(project):
        settle_if_it_answers(project, state)
        rows = live(state, project.model)
        known = [row.name for row in rows]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(
                f"nothing called {unknown[0]!r} is beside the champion of {project.model}; "
                f"there is: {', '.join(known) or 'nothing'}",
                hint="`tidemill deploy show`",
            )
        chosen = [row for row in rows if not names or row.name in names]
        with state.transaction() as session:
            for row in chosen:
                end(session, row, "stopping", reason)
            if any(row.kind == "canary" for row in chosen):
                _stop_rollout(session, project.model, reason)
        settle_deployments(project, state)
        return chosen


def settle_if_it_answers(project: Project, state: State) -> RegistryError | None:
    """Settle what a kill left half done, for who takes something away: that must not wait for the registry.

    Returns:
        why the registry could not be asked, none if all is settled. The lock must be held.
    """
    try:
        settle(project, state)
        settle_deployments(project, state)
    except RegistryError as error:
        return error
    return None


def reconcile(project: Project, state: State, seconds: float | None = None) -> None:
    """Finish what a kill left half done, and take up what somebody changed in the registry itself.

    Args:
        project: whose model it is.
        state: the records.
        seconds: to wait for somebody else who moves aliases now; default: as long as anybody waits.

    Raises:
        RegistryError: the registry does not answer, or somebody else is at it.
    """
    with lock(project) if seconds is None else lock(project, seconds):
        settle(project, state)
        settle_deployments(project, state)


def _name(wish: Wish) -> str:
    if wish.kind not in KINDS:
        raise UsageError(f"{wish.kind!r} is no way to deploy a version; there are: {', '.join(KINDS)}")
    if wish.kind != "ab":
        return wish.kind
    if not _NAME.fullmatch(wish.name) or wish.name in KINDS:
        raise UsageError(
            f"{wish.name!r} is no name of an experiment",
            hint="lower-case letters, digits, - and _, at most 40; not canary, ab, shadow or challenger",
        )
    return wish.name


def _refuse_rollout(session: Session, model: str) -> None:
    found = session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))
    if found is not None:
        raise RegistryError(
            f"version {found.version} of {model} is being rolled out ({found.id}): it is the canary",
            hint="`tidemill deploy stop canary` ends that",
        )


def _stop_rollout(session: Session, model: str, reason: str) -> None:
    found = session.scalar(select(Rollout).where(Rollout.model == model, Rollout.status.in_(RUNNING)))
    if found is not None:
        found.status, found.outcome, found.finished_at = "stopped", reason, datetime.now(UTC)
