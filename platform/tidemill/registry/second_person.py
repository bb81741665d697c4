"""Asks for a second person where a project wants four eyes on what a person promotes or rolls out.

The first attempt is put on record as a request and refused; another person's approval lets it through, once:
`tidemill.rollouts.approved_acts` does it then and there. What the loop does by its policies needs none: it
has the gate, and its rollouts' checks.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.user_names import folded
from tidemill.errors import ApprovalNeeded, NotAllowed, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.state import State
from tidemill.state.tables import ApiKey, Approval, User

__all__ = ["VALID", "SharedAct", "approved_request", "decide_approval", "require_second_person"]

SharedAct = Literal["promote", "rollout", "rollout-with-own-steps"]
VALID: Final = timedelta(days=7)
"""An approval counts for this long."""


def require_second_person(
    project: Project, state: State, act: SharedAct, version: str, *, actor: str, reason: str
) -> None:
    """Take the approval of a second person, or put a request for it on record and refuse.

    Args:
        project: whether it asks for that, ``gate.four_eyes`` says.
        state: the records.
        act: what is to be done.
        version: number of the version.
        actor: who does it.
        reason: why.

    Raises:
        ApprovalNeeded: nobody else has approved it yet; the request is on record.
    """
    if not project.config.gate.four_eyes or audit.kind_of(actor, None) == "process":
        return
    now = datetime.now(UTC)
    with state.transaction() as session:
        if _use(session, project.model, act, version, now):
            return
        row = _waiting(session, project.model, act, version)
        if row is None:
            row = _ask(session, project.model, act, version, actor, reason, now)
    raise ApprovalNeeded(
        f"version {version} of {project.model} needs the approval of a second person ({row.id}, asked for by "
        f"{row.asked_by})",
        hint=f"somebody else approves it, which does it, too: tidemill approvals approve {row.id}",
    )


def decide_approval(
    state: State, model: str, approval: str, said: Literal["approve", "refuse"], *, actor: str, comment: str
) -> Approval:
    """Approve or refuse what another person asked for; who asked may only take it back, by refusing.

    Raises:
        UsageError: there is no such request, or it is decided already: the message says by whom.
        NotAllowed: the same person asked for it, by whatever name or token; or the token is nobody's.
    """
    with state.transaction() as session:
        row = session.get(Approval, approval)
        if row is None or row.model != model:
            raise UsageError(
                f"{model} has no request {approval!r}", hint="`tidemill approvals list` shows those that wait"
            )
        if row.status != "waiting":
            raise UsageError(
                f"{row.id} is {row.status} already, by {row.decided_by}", hint="look at the list again"
            )
        person = _person(session, actor)
        if said == "approve" and person in (None, row.person):
            raise NotAllowed(
                f"{actor} asked for it: a second person must approve"
                if person is not None
                else f"{actor} belongs to no person, so it cannot be the second one",
                hint="another person approves it, by the page Approvals or `tidemill approvals approve`",
            )
        row.status = "approved" if said == "approve" else "refused"
        row.decided_by, row.decided_at, row.comment = actor, datetime.now(UTC), comment
        details = {"approval": row.id, "of": row.action, "asked_by": row.asked_by}
        action = "approve" if said == "approve" else "reject"
        audit.append(session, audit.Act(actor, action, "version", row.version, model, comment, details))
        return row


def approved_request(state: State, model: str, approval: str) -> Approval:
    """Return a request that was approved and not used yet.

    Raises:
        UsageError: there is none of that id.
    """
    with state.transaction() as session:
        row = session.get(Approval, approval)
    if row is None or (row.model, row.status) != (model, "approved"):
        raise UsageError(f"{model} has no approved request {approval!r}", hint="look at the list again")
    return row


def _use(session: Session, model: str, act: str, version: str, now: datetime) -> bool:
    """Take an approval, if there is one: it counts once."""
    query = _of(model, act, version).where(Approval.status == "approved", Approval.decided_at > now - VALID)
    row = session.scalars(query.order_by(Approval.decided_at)).first()
    if row is not None:
        row.status = "used"
    return row is not None


def _waiting(session: Session, model: str, act: str, version: str) -> Approval | None:
    return session.scalars(_of(model, act, version).where(Approval.status == "waiting")).first()


def _ask(
    session: Session, model: str, act: str, version: str, actor: str, reason: str, now: datetime
) -> Approval:
    row = Approval(
        id=new_id("ask"),
        model=model,
        action=act,
        version=version,
        reason=reason,
        asked_by=actor,
        person=_person(session, actor) or f"token:{actor}",
        asked_at=now,
        status="waiting",
    )
    session.add(row)
    details = {"approval": row.id, "for": act}
    audit.append(session, audit.Act(actor, "ask-approval", "version", version, model, reason, details))
    return row


def _of(model: str, act: str, version: str) -> Select[Approval]:
    return select(Approval).where(
        Approval.model == model, Approval.action == act, Approval.version == version
    )


def _person(session: Session, actor: str) -> str | None:
    """Return which person an actor is: a user by any spelling or token of theirs, else the name itself."""
    if actor.startswith("token:"):
        named = select(ApiKey.owner).where(ApiKey.name == actor.removeprefix("token:"))
        owner = session.scalar(named.where(ApiKey.revoked_at.is_(None)))
        return None if owner is None else f"user:{owner}"
    user = session.scalar(select(User.id).where(User.name_folded == folded(actor)))
    return f"name:{folded(actor)}" if user is None else f"user:{user}"
