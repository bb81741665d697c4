"""Asks for a second person where a project wants four eyes on what a person promotes or rolls out.

The first attempt is put on record as a request and refused; another person's approval lets it through, once,
and only on the terms that were shown: `tidemill.retraining.by_hand.approved_acts` does it then and there.
What the loop does by its policies needs none: it has the gate, and its rollouts' checks.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session

from tidemill.accounts import audit
from tidemill.accounts.user_names import folded
from tidemill.errors import ApprovalNeeded, NotAllowed, RecordNotFound, UsageError
from tidemill.ids import new_id
from tidemill.project import Project
from tidemill.registry.approval_terms import RULES, VALID, other_rules
from tidemill.state import State
from tidemill.state.tables import ApiKey, Approval, User

__all__ = [
    "SharedAct",
    "approved_request",
    "decide_approval",
    "expire_requests",
    "require_second_person",
    "withdraw",
]

SharedAct = Literal["promote", "rollout", "deploy", "stage"]
_UNANSWERED: Final = f"nobody answered within {VALID.days} days"
_UNUSED: Final = f"the approval was not used within {VALID.days} days"


def require_second_person(
    project: Project,
    state: State,
    act: SharedAct,
    version: str,
    *,
    actor: str,
    reason: str,
    terms: Mapping[str, Any],
    four_eyes: bool | None = None,
) -> None:
    """Take the approval of a second person, or put a request for it on record and refuse.

    Args:
        project: whether it asks for that, ``gate.four_eyes`` says.
        state: the records.
        act: what is to be done.
        version: number of the version.
        actor: who does it.
        reason: why.
        terms: what is approved with it, as JSON: the version that it replaces, and a rollout's steps. An
            approval counts for these alone.
        four_eyes: whether a second person is asked for; default: as ``gate.four_eyes`` says.

    Raises:
        ApprovalNeeded: nobody else has approved it yet; the request is on record.
    """
    wanted = project.config.gate.four_eyes if four_eyes is None else four_eyes
    if not wanted or audit.kind_of(actor, None) == "process":
        return
    now = datetime.now(UTC)
    bound: dict[str, Any] = json.loads(json.dumps(terms))  # as the record gives them back
    with state.transaction() as session:
        _expire(session, project.model, now)
        if _use(session, _of(project.model, act, version), bound, now):
            return
        earlier = _under_other_rules(session, _of(project.model, act, version), bound, now)
        row = _waiting(session, _of(project.model, act, version), bound)
        if row is None:
            row = _ask(session, project.model, act, version, actor, reason, bound, now)
    needed = ApprovalNeeded(
        f"version {version} of {project.model} needs the approval of a second person ({row.id}, asked for by "
        f"{row.asked_by}){earlier}",
        hint=f"somebody else approves it, which does it, too: tidemill approve {version} --reason …",
    )
    needed.approval = row.id
    raise needed


def decide_approval(
    state: State, model: str, approval: str, said: Literal["approve", "refuse"], *, actor: str, comment: str
) -> Approval:
    """Approve or refuse what another person asked for; who asked may only take it back, by refusing.

    Raises:
        RecordNotFound: there is no such request.
        UsageError: it is decided already (the message says by whom), or nobody has answered it in time.
        NotAllowed: the same person asked for it, by whatever name or token; or the token is nobody's.
    """
    expire_requests(state, model)
    with state.transaction() as session:
        row = session.get(Approval, approval)
        if row is None or row.model != model:
            raise RecordNotFound(
                f"{model} has no request {approval!r}", hint="`tidemill approvals list` shows those that wait"
            )
        if row.status == "expired":
            raise UsageError(
                f"{row.id} has expired: {_UNUSED if row.decided_by else row.comment}",
                hint="ask for it again, if it is still wanted",
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
        details = {"approval": row.id, "of": row.action, "asked_by": row.asked_by, "terms": row.terms}
        action = "approve" if said == "approve" else "reject"
        audit.append(session, audit.Act(actor, action, "version", row.version, model, comment, details))
        return row


def expire_requests(state: State, model: str) -> int:
    """Put on record which requests nobody answered, and which approvals nobody used; return how many."""
    with state.transaction() as session:
        return _expire(session, model, datetime.now(UTC))


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


def withdraw(session: Session, approval: str, *, by: str, comment: str) -> None:
    """Refuse a request that waits, because what it was for was refused otherwise; its entry names both."""
    row = session.get(Approval, approval)
    if row is not None and row.status == "waiting":
        row.status, row.decided_by, row.decided_at, row.comment = "refused", by, datetime.now(UTC), comment


def _expire(session: Session, model: str, now: datetime) -> int:
    unanswered = and_(Approval.status == "waiting", Approval.asked_at <= now - VALID)
    unused = and_(Approval.status == "approved", Approval.decided_at <= now - VALID)
    late = select(Approval).where(Approval.model == model, or_(unanswered, unused))
    rows = session.scalars(late.order_by(Approval.asked_at, Approval.id)).all()
    for row in rows:
        why = _UNANSWERED if row.status == "waiting" else _UNUSED
        if row.status == "waiting":
            row.decided_at, row.comment = row.asked_at + VALID, why
        row.status = "expired"
        details = {"approval": row.id, "of": row.action, "asked_by": row.asked_by, "terms": row.terms}
        audit.append(session, audit.Act("registry", "expire", "version", row.version, model, why, details))
    return len(rows)


def _use(session: Session, of: Select[Approval], terms: Mapping[str, Any], now: datetime) -> bool:
    """Take an approval of these terms, if there is one: it counts once."""
    row = _with_terms(session, _approved(of, now), terms)
    if row is not None:
        row.status = "used"
    return row is not None


def _approved(of: Select[Approval], now: datetime) -> Select[Approval]:
    valid = of.where(Approval.status == "approved", Approval.decided_at > now - VALID)
    return valid.order_by(Approval.decided_at)


def _under_other_rules(
    session: Session, of: Select[Approval], terms: Mapping[str, Any], now: datetime
) -> str:
    """Return the end of a sentence: who approved just this while the gates were declared otherwise."""
    for row in session.scalars(_approved(of, now)):
        if _without_rules(row.terms or {}) == _without_rules(terms):
            changed = other_rules((row.terms or {}).get(RULES, {}), terms.get(RULES, {}))
            return f"; {row.decided_by} approved it under other limits: {changed}"
    return ""


def _waiting(session: Session, of: Select[Approval], terms: Mapping[str, Any]) -> Approval | None:
    return _with_terms(session, of.where(Approval.status == "waiting"), terms)


def _with_terms(session: Session, query: Select[Approval], terms: Mapping[str, Any]) -> Approval | None:
    """Return the first request of these terms; one of an earlier release is bound to no gates."""
    others = _without_rules(terms)
    return next((row for row in session.scalars(query) if row.terms in (terms, others)), None)


def _without_rules(terms: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in terms.items() if name != RULES}


def _ask(
    session: Session,
    model: str,
    act: str,
    version: str,
    actor: str,
    reason: str,
    terms: dict[str, Any],
    now: datetime,
) -> Approval:
    row = Approval(
        id=new_id("ask"),
        model=model,
        action=act,
        version=version,
        reason=reason,
        terms=terms,
        asked_by=actor,
        person=_person(session, actor) or f"token:{actor}",
        asked_at=now,
        status="waiting",
    )
    session.add(row)
    details = {"approval": row.id, "for": act, "terms": terms}
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
