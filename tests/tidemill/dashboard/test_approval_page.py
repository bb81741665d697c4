"""Approvals on the dashboard: two people, one of whom cannot be both."""

import pytest

from tests.tidemill.dashboard.test_login import browser, cheap_argon, enter_by, log_in, people
from tests.tidemill.dashboard.test_people_pages import send
from tidemill.accounts.users import grant_role
from tidemill.dashboard.error_pages import API
from tidemill.errors import ApprovalNeeded
from tidemill.registry.second_person import require_second_person

__all__ = ["browser", "cheap_argon", "people"]
PAGE = "/models/parcel-delay/approvals"


@pytest.fixture
def request_id(people):
    """The id of a promotion that Ada asked for."""
    home = people.home
    gate = home.config.gate.model_copy(update={"four_eyes": True})
    object.__setattr__(home, "config", home.config.model_copy(update={"gate": gate}))
    with pytest.raises(ApprovalNeeded):
        require_second_person(home, people.state, "promote", "7", actor="Ada", reason="<b>summer</b>")
    return people.records.select("approvals", "1 = 1")[0].id


def test_who_asked_cannot_approve_and_another_can_and_the_next_is_told_by_whom(browser, people, request_id):
    log_in(browser)
    page = browser.get(PAGE).text
    assert "&lt;b&gt;summer&lt;/b&gt;" in page
    assert send(browser, f"{PAGE}/{request_id}/approve", comment="mine").status_code == 403
    with enter_by(people) as other:
        log_in(other, "bob")
        assert "Approve</button>" not in other.get(PAGE).text
        assert send(other, f"{PAGE}/{request_id}/approve", comment="yes").status_code == 403  # a viewer
        now = people.clock.now()
        grant_role(people.state, "bob", "ml-engineer", project="parcels", actor="Ada", now=now)
        assert send(other, f"{PAGE}/{request_id}/approve", comment="").status_code == 422
        assert send(other, f"{PAGE}/{request_id}/approve", comment="yes").status_code == 303
        assert "can be promoted now" in other.get(PAGE).text
    [shown] = browser.get(f"{API}{PAGE}").json()["approvals"]
    assert (shown["status"], shown["decided_by"], shown["comment"]) == ("approved", "bob", "yes")
    again = send(browser, f"{PAGE}/{request_id}/refuse", comment="no")
    assert again.status_code == 422
    assert "by bob" in again.text


def test_a_request_that_is_not_there_is_said(browser, people):
    log_in(browser)
    assert "no request" in send(browser, f"{PAGE}/ask_nothing/refuse", comment="no").text
    assert "Nothing has been asked for" in browser.get(PAGE).text
