"""Four eyes: who must approve, who cannot, and what an approval is good for. No engine is needed."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from tidemill.accounts.api_keys import create_key
from tidemill.accounts.users import add_user
from tidemill.errors import ApprovalNeeded, GateRefused, NotAllowed, UsageError
from tidemill.project.declared_gates import GateConfig
from tidemill.project.gate_checks import MetricCheck
from tidemill.registry.approval_terms import VALID, declared_rules
from tidemill.registry.second_person import decide_approval, expire_requests, require_second_person
from tidemill.state import open_state
from tidemill.state.tables import Approval, AuditEntry

NOW = datetime(2013, 4, 1, tzinfo=UTC)
PROJECT = SimpleNamespace(
    model="parcel-delay", config=SimpleNamespace(gate=SimpleNamespace(four_eyes=True)), name="parcels"
)


@pytest.fixture
def records(tmp_path):
    made = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    for name in ("Ada", "bob"):
        add_user(made, name=name, password=None, actor="me", now=NOW)
    yield made
    made.close()


TERMS = {"champion": "1"}


def ask(records, actor="Ada", act="promote", version="2", project=PROJECT, terms=TERMS):
    require_second_person(project, records, act, version, actor=actor, reason="summer", terms=terms)


def asked(records, actor="Ada", **given):
    with pytest.raises(ApprovalNeeded):
        ask(records, actor, **given)
    with records.transaction() as session:
        return session.query(Approval).filter_by(status="waiting").order_by(Approval.id.desc()).first().id


def decide(records, approval, actor, said="approve"):
    return decide_approval(records, "parcel-delay", approval, said, actor=actor, comment="looked at it")


def test_a_request_is_on_record_once_and_goes_through_after_another_persons_approval(records):
    first = asked(records)
    assert asked(records) == first
    assert isinstance(ApprovalNeeded("x"), GateRefused)  # for those who ask what a gate said
    assert decide(records, first, "bob").status == "approved"
    ask(records)
    second = asked(records)  # it was good once
    assert second != first
    with records.transaction() as session:
        entries = session.query(AuditEntry).order_by(AuditEntry.seq).all()
    acts = [(one.actor, one.action) for one in entries if one.resource == "version"]
    assert acts == [("Ada", "ask-approval"), ("bob", "approve"), ("Ada", "ask-approval")]


def test_an_approval_counts_under_the_gates_that_it_was_given_under(records):
    def terms(floor):
        return TERMS | declared_rules([MetricCheck(check="metric", floor=floor)], GateConfig(four_eyes=True))

    decide(records, asked(records, terms=terms(0.7)), "bob")
    with pytest.raises(
        ApprovalNeeded, match=r"bob approved it under other limits: gate `metric`: floor was 0\.7, is"
    ):
        ask(records, terms=terms(0.75))
    ask(records, terms=terms(0.7))
    decide(records, asked(records), "bob")  # of an earlier release
    ask(records, terms=terms(0.75))


@pytest.mark.parametrize("same", ["Ada", "ada", "ＡＤＡ", "token:hers"])
def test_the_same_person_cannot_approve_by_any_name_or_token(records, same):
    with records.transaction() as session:
        from tidemill.accounts.users import find_user

        owner = find_user(session, "ada").id
    create_key(records, name="hers", scopes=(), roles={"*": ["admin"]}, owner=owner, actor="Ada", now=NOW)
    request = asked(records)
    with pytest.raises(NotAllowed, match="a second person"):
        decide(records, request, same)
    request = asked(records, "token:hers", version="3")
    with pytest.raises(NotAllowed, match="a second person"):
        decide(records, request, "Ada")


def test_names_that_are_no_users_are_compared_without_regard_to_case_too(records):
    request = asked(records, "carol")
    with pytest.raises(NotAllowed):
        decide(records, request, "CAROL")
    assert decide(records, request, "dave").decided_by == "dave"


def test_a_token_of_nobody_is_no_second_person(records):
    create_key(records, name="ci", scopes=(), roles={"*": ["admin"]}, actor="Ada", now=NOW)
    request = asked(records)
    with pytest.raises(NotAllowed, match="belongs to no person"):
        decide(records, request, "token:ci")


def test_an_approval_is_for_one_act_and_version_and_ends(records):
    decide(records, asked(records), "bob")
    asked(records, version="3")
    asked(records, act="rollout")
    with records.transaction() as session:
        row = session.query(Approval).filter_by(status="approved").one()
        row.decided_at = row.decided_at - VALID - timedelta(seconds=1)
    asked(records)


def age(records, by):
    with records.transaction() as session:
        for row in session.query(Approval).filter_by(status="waiting"):
            row.asked_at -= by


def test_a_request_that_nobody_answers_expires_on_record_and_can_be_asked_for_again(records):
    first = asked(records)
    age(records, VALID - timedelta(hours=1))
    assert expire_requests(records, "parcel-delay") == 0
    assert asked(records) == first
    age(records, timedelta(hours=1))
    assert expire_requests(records, "another") == 0
    for said in ("approve", "refuse"):
        with pytest.raises(UsageError, match="has expired: nobody answered within 7 days"):
            decide(records, first, "bob", said)
    with pytest.raises(ApprovalNeeded):
        ask(records)
    second = asked(records)
    assert second != first
    age(records, VALID)
    assert asked(records) not in (first, second)  # who asks again puts the end of the one before on record
    with records.transaction() as session:
        entries = session.query(AuditEntry).filter_by(action="expire").order_by(AuditEntry.seq).all()
        assert [json.loads(one.details)["approval"] for one in entries] == [first, second]
        assert {(one.actor, one.actor_kind) for one in entries} == {("registry", "process")}


def test_an_approval_that_nobody_uses_in_time_expires_on_record(records):
    first = asked(records)
    decide(records, first, "bob")
    with records.transaction() as session:
        session.get_one(Approval, first).decided_at -= VALID
    assert expire_requests(records, "parcel-delay") == 1
    with records.transaction() as session:
        row = session.get_one(Approval, first)
        assert (row.status, row.decided_by) == ("expired", "bob")
    with pytest.raises(UsageError, match="the approval was not used within 7 days"):
        decide(records, first, "bob")


def test_an_approval_is_for_what_was_shown_with_it(records):
    plan = {"steps": [{"share": 0.05}, {"share": 1.0}]}
    careful = {"champion": "1", "plan": plan, "since": None}
    decide(records, asked(records, act="rollout", terms=careful), "bob")
    for other in (
        {**careful, "plan": {"steps": [{"share": 1.0}]}},
        {**careful, "champion": "3"},
        {**careful, "since": "2013-01-01T00:00:00+00:00"},
    ):
        asked(records, act="rollout", terms=other)
    with records.transaction() as session:  # as an earlier version of Tidemill wrote it
        session.add(Approval(**{**AS_BEFORE, "id": "ask_old"}))
    asked(records, version="9", terms={})
    ask(records, act="rollout", terms={**careful, "plan": {"steps": ({"share": 0.05}, {"share": 1.0})}})
    asked(records, act="rollout", terms=careful)  # it was good once


AS_BEFORE = {
    "model": "parcel-delay", "action": "promote", "version": "9", "reason": "r", "asked_by": "Ada",
    "person": "user:1", "asked_at": NOW, "status": "approved", "decided_by": "bob",
    "decided_at": datetime.now(UTC), "comment": "fine", "terms": None,
}  # fmt: skip


def test_a_request_is_decided_once_and_the_second_is_told_by_whom(records):
    request = asked(records)
    decide(records, request, "bob", "refuse")
    with pytest.raises(UsageError, match="refused already, by bob"):
        decide(records, request, "carol")
    asked(records)  # a refusal lets nothing through


def test_who_asked_may_take_it_back(records):
    assert decide(records, asked(records), "ada", "refuse").status == "refused"


def test_requests_of_other_models_are_not_there(records):
    request = asked(records)
    with pytest.raises(UsageError, match="no request"):
        decide_approval(records, "another", request, "approve", actor="bob", comment="x")


@pytest.mark.parametrize("actor", ["policy:weekly", "rollout:r1"])
def test_what_the_loop_does_by_itself_needs_nobody(records, actor):
    ask(records, actor)


def test_a_project_that_does_not_ask_for_it_is_left_alone(records):
    ask(records, project=SimpleNamespace(**{**vars(PROJECT), "config": _without()}))


def _without():
    return SimpleNamespace(gate=SimpleNamespace(four_eyes=False))
