"""Approvals on the dashboard: two people, one of whom cannot be both."""

import re
from datetime import timedelta

import pytest

from tests.tidemill.dashboard.test_login import browser, cheap_argon, enter_by, log_in, people
from tests.tidemill.dashboard.test_people_pages import send
from tidemill.accounts.users import grant_role
from tidemill.dashboard.error_pages import API
from tidemill.dashboard.pages.decisions import begun_acts
from tidemill.errors import ApprovalNeeded
from tidemill.registry.second_person import require_second_person
from tidemill.retraining.by_hand.asked_act_record import begin_record, end_record
from tidemill.state.tables import Approval, Turn

__all__ = ["browser", "cheap_argon", "people"]
PAGE = "/models/parcel-delay/approvals"


@pytest.fixture
def request_id(people):
    """The id of a promotion that Ada asked for."""
    home = people.home
    gate = home.config.gate.model_copy(update={"four_eyes": True})
    object.__setattr__(home, "config", home.config.model_copy(update={"gate": gate}))
    asked = {"actor": "Ada", "reason": "<b>summer</b>", "terms": {"champion": "5"}}
    with pytest.raises(ApprovalNeeded):
        require_second_person(home, people.state, "promote", "7", **asked)
    return people.records.select("approvals", "1 = 1")[0].id


def _do(done, act, facts):
    done.append((act, facts))
    return "act_1"


def test_who_asked_cannot_approve_and_another_can_which_does_it(browser, people, request_id, monkeypatch):
    log_in(browser)
    page = browser.get(PAGE).text
    assert "&lt;b&gt;summer&lt;/b&gt;" in page
    assert "in place of version 5" in page
    done = []
    monkeypatch.setattr(begun_acts, "begin_act", lambda *given, **facts: _do(done, given[2], facts))
    assert send(browser, f"{PAGE}/{request_id}/approve", comment="mine").status_code == 403
    with enter_by(people) as other:
        log_in(other, "bob")
        assert "Approve</button>" not in other.get(PAGE).text
        assert send(other, f"{PAGE}/{request_id}/approve", comment="yes").status_code == 403  # a viewer
        now = people.clock.now()
        grant_role(people.state, "bob", "ml-engineer", project="parcels", actor="Ada", now=now)
        assert send(other, f"{PAGE}/{request_id}/approve", comment=" ").status_code == 422
        answer = send(other, f"{PAGE}/{request_id}/approve", comment="yes")
        assert answer.headers["location"] == "/models/parcel-delay/acts/act_1"
        assert send(other, f"{PAGE}/{request_id}/approve", comment="yes").status_code == 422
        assert done == [("carry-out", {"approval": request_id})]
    [shown] = browser.get(f"{API}{PAGE}").json()["approvals"]
    assert (shown["status"], shown["decided_by"], shown["comment"]) == ("approved", "bob", "yes")
    page = browser.get(PAGE).text  # what stands beside each other in a cell is one piece on a narrow screen
    assert re.search(r"<span>Ada, <time[^>]*>[^<]*</time></span>", page)
    assert re.search(r"<span>bob, <time[^>]*>[^<]*</time>: yes</span>", page)
    again = send(browser, f"{PAGE}/{request_id}/refuse", comment="no")
    assert again.status_code == 422
    assert "by bob" in again.text


def test_a_request_that_nobody_answered_in_time_is_shown_as_expired_and_cannot_be_approved(
    browser, people, request_id
):
    log_in(browser)
    assert "expires <time" in browser.get(PAGE).text
    with people.state.transaction() as session:
        session.get_one(Approval, request_id).asked_at = people.clock.now() - timedelta(days=8)
    page = browser.get(PAGE).text
    assert "Approve</button>" not in page
    assert "state-expired" in page
    [shown] = browser.get(f"{API}{PAGE}").json()["approvals"]
    assert (shown["status"], shown["until"][:10]) == ("expired", "2013-06-30")
    answer = send(browser, f"{PAGE}/{request_id}/refuse", comment="late")
    assert answer.status_code == 422
    assert "nobody answered within 7 days" in browser.get(PAGE).text


def test_who_needs_an_approval_is_led_to_where_it_is_given(browser, people):
    asked = begin_record(people.state, people.home, "promote", {"version": "7"}, actor="Ada", reason="summer")
    needed = {"kind": "ApprovalNeeded", "message": "it needs a second person", "hint": None, "decision": None}
    end_record(people.state, asked.id, {"error": needed})
    log_in(browser)
    assert f'<a href="{PAGE}">' in browser.get(f"/models/parcel-delay/acts/{asked.id}").text


def test_a_request_that_is_not_there_is_said(browser, people):
    log_in(browser)
    assert "no request" in send(browser, f"{PAGE}/ask_nothing/refuse", comment="no").text
    assert "Nothing has been asked for" in browser.get(PAGE).text


def test_a_turn_that_waits_for_a_second_person_and_its_request_lead_to_each_other(
    browser, people, request_id
):
    now = people.clock.now()
    given = {"trigger": "manual", "reason": "r", "actor": "Ada", "promote": True, "overrides": {}}
    question = {"until": "2013-07-08T00:00:00+00:00", "default": "refuse", "approval": request_id}
    record = {"as_of": now, "requested_at": now, "seconds": {}, "step": "end", "status": "asked"}
    with people.state.transaction() as session:
        session.add(
            Turn(id="turn_7", model="parcel-delay", version="7", question=question, **given, **record)
        )
    log_in(browser)
    turn = browser.get("/models/parcel-delay/turns/turn_7").text
    assert f'waits for a second person: <a href="{PAGE}">the request {request_id}</a>' in turn
    assert (
        f'<a href="{PAGE}">Approve the request</a>'
        in browser.get("/models/parcel-delay/turns/turn_7/answer").text
    )
    assert (
        '<a href="/models/parcel-delay/turns/turn_7">its turn</a> goes on with it' in browser.get(PAGE).text
    )
